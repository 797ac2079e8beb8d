"""Fixtures shared by the tests."""
import copy
import functools
import gc
import multiprocessing
import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import cv2
import mmengine.config.config
import mmengine.runner.runner
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmpose.models import build_pose_estimator
from mmpose.utils import register_all_modules
from scipy.io import savemat
from torch import Tensor

import lgm_pose_plugin
from lgm_pose_plugin.analysis import erf
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.datasets.rendered.writer import write_dataset
from lgm_pose_plugin.models import builder as networks

ROOT = Path(__file__).resolve().parents[1]
# Else OpenVINO sends statistics and writes to the home folder when imported.
os.environ.setdefault('CI', 'true')


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what exports a module as end to end."""
    for item in items:
        if 'check_exports' in item.fixturenames:
            item.add_marker('e2e')


@pytest.fixture(scope='session', autouse=True)
def registered():
    """Register MMPose's and the plugin's modules; compute on one thread."""
    torch.set_num_threads(1)
    register_all_modules()
    lgm_pose_plugin.register_all_modules()


@pytest.fixture(scope='session', autouse=True)
def quick(registered):
    """Spare the tests what MMEngine repeats for every config and training.

    It looks for compilers, reads all metafiles of MMPose for each config,
    formats configs that it writes, and collects garbage for each data set.
    """
    find = functools.lru_cache(maxsize=None)(Config._get_cfg_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.runner.runner, 'collect_env', dict)
        patch.setattr(Config, '_get_cfg_path', staticmethod(find))
        patch.setattr(mmengine.config.config, 'FormatCode',
                      lambda text, **options: (text, True))
        gc.freeze()  # what the packages hold
        yield


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
def lspet_root():
    """Images and joints.mat of Leeds Sports Pose Extended."""
    return _data('lspet')


# LSP's limbs among COCO's key points, from the right ankle to the left wrist.
_LSP_IN_COCO = (16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9)


@pytest.fixture(scope='session')
def rendered_lsp():
    """Write rendered people as LSPET's archive, or as LSP's."""

    def write(folder, number, layout='lspet'):
        rng = np.random.default_rng(0)
        (folder / 'images').mkdir(parents=True)
        joints = np.zeros((14, 3, number))
        for index in range(number):
            image, people = render_image(rng, (160, 120), 1)
            digits = 5 if layout == 'lspet' else 4
            name = f'im{index + 1:0{digits}d}.jpg'
            cv2.imwrite(str(folder / 'images' / name), image)
            coco = np.reshape(people[0]['keypoints'], (17, 3))
            joints[:12, :, index] = coco[list(_LSP_IN_COCO)]
            neck = joints[8:10, :, index]
            joints[12, :, index] = [*neck[:, :2].mean(0), neck[:, 2].min()]
            joints[13, :, index] = [*coco[1:3, :2].mean(0), coco[1:3, 2].min()]
        flags = joints[:, 2].copy()
        if layout == 'lspet':  # the third column is 1 for what is labelled
            joints[:, 2] = flags > 0
            joints[:, :2].transpose(0, 2, 1)[flags == 0] = (-30, -20)
        else:  # and 1 for what is hidden
            joints[:, 2] = flags == 1
            joints = joints.transpose(1, 0, 2)
        savemat(str(folder / 'joints.mat'), dict(joints=joints))
        return folder

    return write


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
            elif value.dim() > 1 and value.is_floating_point():
                value.normal_(0, value[0].numel()**-0.5)
        return module

    return randomize


@pytest.fixture(scope='session')
def switch_to_deploy():
    """Call the method of that name, which MMPose < 1.3 leaves to the user."""

    def switch(model):
        if hasattr(model, 'switch_to_deploy'):
            model.switch_to_deploy()
        else:
            model.head.switch_to_deploy(model.test_cfg)

    return switch


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
            module.train(training)  # MMPose's backbones return None
            module.zero_grad()
            loss = sum((out * torch.randn_like(out)).sum()
                       for out in _tensors(module(*inputs)))
            loss.backward()
            learned = {
                name: parameter
                for name, parameter in module.named_parameters()
                if parameter.requires_grad
            }
            for name, parameter in learned.items():
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
        for name, parameter in learned.items():
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
    'softmax':
    (_COCO + 'body17/td-hm_lgm-pose_1xb16-18e_body17-128x96.py', {}),
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
    **{
        name: (f'{_COCO}coco/td-hm_{name}_8xb64-210e_coco-256x192.py',
               _sized(
                   96,
                   128,
                   model__head__decoder__heatmap_size=(24, 32),
                   **options))
        for name, options in {
            'lpn50':
            dict(
                model__backbone__base_channels=16,
                model__neck__in_channels=128),
            'cpn50':
            dict(
                model__backbone__base_channels=16,
                model__neck__in_channels=(64, 128, 256, 512)),
            'tokenpose-b':
            dict(
                model__head__in_featuremap_size=(24, 32),
                model__head__num_layers=2),
            'hrformer-t': {
                f'model__backbone__extra__stage{stage}':
                dict(num_modules=1, num_blocks=(1, ) * stage)
                for stage in (2, 3, 4)
            }
        }.items()
    },
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


@pytest.fixture(scope='session')
def network_files(tmp_path_factory, small_network):
    """Config, weights and exported file of the small network ``udp``."""
    export = pytest.importorskip('lgm_pose_plugin.export.exporter')
    folder = tmp_path_factory.mktemp('network')
    path, options, checkpoint = small_network('udp')
    cfg = networks.load_config(path)
    cfg.merge_from_dict(options)
    # The exported file has none.
    cfg.model.test_cfg.flip_test = False
    cfg.dump(folder / 'config.py')
    export.export(path, checkpoint, str(folder / 'net.onnx'), samples=2)
    return str(folder / 'config.py'), checkpoint, str(folder / 'net.onnx')


# Configs of small detectors of cars and people.
_DETECTORS = dict(
    rtmdet="""
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
model = dict(
    backbone=dict(widen_factor=0.125),
    neck=dict(in_channels=[32, 64, 128], out_channels=32),
    bbox_head=dict(num_classes=2, in_channels=32, feat_channels=32),
    test_cfg=dict(nms_pre=1000, max_per_img=40))
pipeline = _base_.test_pipeline
pipeline[2].size = (160, 160)
""",
    yolox="""
_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
model = dict(
    backbone=dict(widen_factor=0.125),
    neck=dict(in_channels=[32, 64, 128], out_channels=32),
    bbox_head=dict(num_classes=2, in_channels=32, feat_channels=32))
pipeline = _base_.test_pipeline
""")
_DETECTOR_DATA = """
pipeline[1].scale = (160, 160)
test_dataloader = dict(dataset=dict(
    pipeline=pipeline, metainfo=dict(classes=('car', 'person'))))
"""


@pytest.fixture(scope='session')
def small_detector(tmp_path_factory):
    """Config and random weights of a small detector by name."""
    from mmdet.apis import init_detector

    @functools.lru_cache(maxsize=None)
    def make(name):
        folder = tmp_path_factory.mktemp('detector')
        config = folder / 'detector.py'
        config.write_text(_DETECTORS[name] + _DETECTOR_DATA)
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'), \
                warnings.catch_warnings(record=True):
            model = init_detector(
                Config.fromfile(str(config)), None, 'random', 'cpu')
        # Large boxes of many scores.
        for key, value in model.state_dict().items():
            if 'rtm_cls' in key and key.endswith('weight'):
                value.normal_(0, 1.5)
            elif 'rtm_reg' in key and key.endswith('bias'):
                value.fill_(2)
            elif 'bbox_head' in key and value.dim() > 1:
                scale = {'rtmdet': 3, 'yolox': 0.5}[name]
                scale = 0.05 if 'conv_reg' in key else scale
                value.normal_(0, scale * value[0].numel()**-0.5)
        if name == 'yolox':
            # Statistics of blobs, else its activations grow and grow.
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None
            blobs = torch.nn.functional.interpolate(
                255 * torch.rand(16, 3, 10, 10), size=160, mode='bilinear')
            model.train()(blobs, mode='tensor')
        torch.save(
            dict(meta={}, state_dict=model.state_dict()), folder / 'd.pth')
        return str(config), str(folder / 'd.pth')

    return make


@pytest.fixture(scope='session')
def detector_files(small_detector):
    """Config and random weights of a small RTMDet of cars and people."""
    return small_detector('rtmdet')


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


def _run_rank(function, args, rank, store, queue):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    queue.put((rank, function(rank, *args)))
    torch.distributed.destroy_process_group()


@pytest.fixture
def in_two_processes(tmp_path_factory):
    """Call a function with its rank in a process group of two (gloo).

    The processes are forks, so the function must not compute gradients.
    """

    def run(function, *args):
        context = multiprocessing.get_context('fork')
        queue = context.Queue()
        store = tmp_path_factory.mktemp('store') / 'store'
        processes = [
            context.Process(
                target=_run_rank, args=(function, args, rank, store, queue))
            for rank in range(2)
        ]
        for process in processes:
            process.start()
        try:
            results = dict(queue.get(timeout=120) for _ in processes)
        finally:
            for process in processes:
                process.join(timeout=10)
                process.kill()
        return [results[0], results[1]]

    return run


@pytest.fixture(scope='session')
def rendered_root(tmp_path_factory):
    """Rendered people: 12 pictures to train on, 4 to validate."""
    root = tmp_path_factory.mktemp('rendered')
    for split, number in (('train2017', 12), ('val2017', 4)):
        write_dataset(
            str(root),
            number,
            seed=0,
            split=split,
            image_size=(160, 120),
            max_people=1)
    return root


@pytest.fixture
def rendered_run(rendered_root, load_config, tmp_path):
    """Config of a training of three iterations and a validation."""
    cfg = load_config('td-hm_lgm-pose_1xb4-2e_rendered-128x96')
    cfg.work_dir = str(tmp_path / 'work')
    cfg.log_level = 'WARNING'
    cfg.train_cfg.max_epochs = 1
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(rendered_root)
        if split != 'train':
            cfg[f'{split}_evaluator'].ann_file = str(rendered_root /
                                                     loader.dataset.ann_file)
    return cfg


@pytest.fixture
def ridges():
    """Logits (200, 64, 48) of two hills that merge, near (24, 32).

    Of some, the blurred map's Hessian is nearly singular.
    """
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :48]
    maps = []
    for _ in range(200):
        center, apart = rng.uniform(-1, 1, 2) + (24, 32), rng.uniform(1.5, 2.5)
        maps.append(
            sum(
                np.exp(-((x - center[0] - side * apart)**2 +
                         (y - center[1] + side * apart)**2) / 8)
                for side in (-1, 1)))
    return np.log(np.float32(maps).clip(1e-9))


@pytest.fixture
def full_disk():
    """Context in which files get no larger than 20 kB."""
    resource = pytest.importorskip('resource')

    @contextmanager
    def limited():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited
