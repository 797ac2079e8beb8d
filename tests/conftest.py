"""Fixtures shared by the tests."""
import copy
import functools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from torch import Tensor

import lgm_pose_plugin
from lgm_pose_plugin import erf, networks
from mmpose.models import build_pose_estimator
from mmpose.utils import register_all_modules

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session', autouse=True)
def registered():
    """Register MMPose's and the plugin's modules; compute on one thread."""
    torch.set_num_threads(1)
    register_all_modules()
    lgm_pose_plugin.register_all_modules()


@pytest.fixture(autouse=True)
def fresh_state():
    """Start each test in MMPose's scope, with the same seed."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture(scope='session')
def root():
    """Where configs and model-index.yml are: checkout or installation."""
    return Path(BaseInferencer._get_repo_or_mim_dir('lgm_pose_plugin'))


def _data(name):
    folder = ROOT.parent / 'shared' / 'data' / name
    if not folder.is_dir():
        pytest.skip(f'no {folder}')
    return folder


@pytest.fixture(scope='session')
def coco_root():
    """A few images and annotations of COCO, as COCO lays them out."""
    return _data('coco')


@pytest.fixture(scope='session')
def mpii_root():
    """A few images and annotations of MPII."""
    return _data('mpii')


@pytest.fixture(scope='session')
def load_config():
    """Load a config of the plugin by name, with options ``a__b=value``."""

    @functools.lru_cache(maxsize=None)
    def parse(name):
        path, = (ROOT / 'configs').rglob(f'{name}.py')
        return Config.fromfile(str(path))

    def load(name, **options):
        cfg = copy.deepcopy(parse(name))
        cfg.merge_from_dict({
            key.replace('__', '.'): value
            for key, value in options.items()
        })
        return cfg

    return load


@pytest.fixture(scope='session')
def build(load_config):
    """Build the network of a config, see ``load_config``."""

    def build(name='td-hm_lgm-pose_1xb32-260e_coco-256x192', **options):
        return build_pose_estimator(load_config(name, **options).model)

    return build


@pytest.fixture(scope='session')
def randomize():
    """Give all weights and BatchNorm statistics values far from trivial."""

    def randomize(module):
        for name, value in module.state_dict().items():
            is_norm = value.dim() == 1 and name.endswith('weight')
            if is_norm or name.endswith('running_var'):
                value.uniform_(0.5, 1.5)
            elif value.dim() == 1 and value.is_floating_point():
                value.normal_(0, 0.3)
            elif value.dim() > 1:
                value.normal_(0, value[0].numel()**-0.5)
        return module

    return randomize


def _tensors(outputs):
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


@pytest.fixture(scope='session')
def check_gradients(randomize):
    """Check which parameters a random projection of the outputs reaches.

    In double precision, so that a gradient of zero can be told from a small
    one. In training, BatchNorm removes some biases before it, so whether a
    gradient is zero is looked at in eval mode.
    """

    def check(module, *inputs, unreached=()):
        randomize(module).double()
        inputs = [x.double() for x in inputs]
        for training in (True, False):
            module.train(training).zero_grad()
            loss = sum((out * torch.randn_like(out)).sum()
                       for out in _tensors(module(*inputs)))
            loss.backward()
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
        for name, parameter in module.named_parameters():
            reached = parameter.grad.abs().max() > 1e-8
            assert reached != name.endswith(tuple(unreached)), name

    return check


@pytest.fixture(scope='session')
def check_exports(randomize):
    """Check that the traced and exported module agree with the module.

    They are made from a batch of 2 and run on other values and a batch of 3.
    """

    def check(module, shape, atol=1e-5, export=True):
        randomize(module).eval()
        example, x = torch.randn(2, *shape), torch.randn(3, *shape)
        with torch.no_grad():
            expected = _tensors(module(x))
            exported = [torch.jit.trace(module, example, check_trace=False)]
            if export and hasattr(torch, 'export'):
                batch = {0: torch.export.Dim('batch', max=64)}
                program = torch.export.export(
                    module, (example, ), dynamic_shapes=(batch, ))
                exported.append(program.module())
            for run in exported:
                outputs = _tensors(run(x))
                assert len(outputs) == len(expected)
                for output, wanted in zip(outputs, expected):
                    torch.testing.assert_close(
                        output, wanted, atol=atol, rtol=1e-4)

    return check


def _sized(width, height, **options):
    """Options that make a config one for another input size."""
    options = {key.replace('__', '.'): value for key, value in options.items()}
    return {
        'model.head.decoder.input_size': (width, height),
        'test_dataloader.dataset.pipeline.2.input_size': (width, height),
        **options
    }


_COCO = 'lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/'
_RENDERED = _COCO + 'rendered/td-hm_lgm-pose_1xb4-2e_rendered-128x96.py'
_MSRA = {
    'model.head.decoder.type': 'MSRAHeatmap',
    'model.test_cfg.shift_heatmap': True,
    'test_dataloader.dataset.pipeline.2.use_udp': False
}
# Configs and options of small networks, one for each way of decoding.
_SMALL = {
    'lgm': (_RENDERED, _MSRA),
    'udp': (_RENDERED, {}),
    'lapx': ('lapx',
             _sized(
                 64,
                 96,
                 model__head__decoder__heatmap_size=(16, 24),
                 model__backbone__channels=32,
                 model__backbone__depth=1)),
    'rtmpose': ('rtmpose-t',
                _sized(
                    96,
                    128,
                    model__head__input_size=(96, 128),
                    model__head__in_featuremap_size=(3, 4))),
}


@pytest.fixture(scope='session')
def small_network(tmp_path_factory, randomize):
    """Config, options and random weights of a small network by name."""

    @functools.lru_cache(maxsize=None)
    def make(name):
        path, options = _SMALL[name]
        cfg = networks.load_config(path)
        cfg.merge_from_dict(options)
        torch.manual_seed(0)
        model = randomize(erf.build_model(cfg))
        file = tmp_path_factory.mktemp('weights') / f'{name}.pth'
        torch.save(dict(state_dict=model.state_dict()), file)
        return path, options, str(file)

    return make


@pytest.fixture
def logged():
    """The messages MMEngine logs during the test."""
    messages = []
    logger = MMLogger.get_current_instance()

    def collect(record):
        messages.append(record.getMessage())
        return True

    level = logger.level
    logger.setLevel('INFO')
    logger.addFilter(collect)
    yield messages
    logger.removeFilter(collect)
    logger.setLevel(level)
