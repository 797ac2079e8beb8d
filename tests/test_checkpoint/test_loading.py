import copy
import functools
import hashlib
import os
import pickle
import re
import shutil
import zipfile
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner, load_checkpoint
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from torch import nn

from lgm_pose_plugin.checkpoint import publishing, unpickling
from lgm_pose_plugin.checkpoint.publishing import publish_checkpoint
from lgm_pose_plugin.checkpoint.unpickling import allow_mmengine_checkpoints

try:
    from numpy._core import multiarray
except ImportError:
    from numpy.core import multiarray

refusing_torch = pytest.mark.skipif(
    not hasattr(torch.serialization, 'safe_globals'),
    reason='torch < 2.6 has no allow-list for MMEngine checkpoints')


@pytest.fixture(autouse=True, scope='module')
def allowed():
    allow_mmengine_checkpoints()


class ToyModel(BaseModel):

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, mode):
        if mode == 'predict':
            return [float(self.linear(inputs[0]))]
        return dict(loss=self.linear(torch.stack(list(inputs))).square().sum())


class ToyData(BaseDataset):
    METAINFO = dict(from_file='configs/_base_/datasets/coco.py')

    @classmethod
    def _load_metainfo(cls, metainfo=None):
        return parse_pose_metainfo(cls.METAINFO)

    def load_data_list(self):
        return [dict(x=float(index)) for index in range(4)]

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([float(index), 1.]))


class ToyMetric:
    """Report a numpy score, as COCO's evaluation does."""
    dataset_meta = None

    def process(self, data_batch, data_samples):
        pass

    def evaluate(self, size):
        return {'AP': np.float64(0.5)}


def make_runner(work_dir, epochs=1, **kwargs):
    loader = dict(
        dataset=ToyData(),
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False))
    return Runner(
        model=ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=copy.copy(loader),
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1),
        val_cfg=dict(),
        val_evaluator=[ToyMetric()],
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=dict(type='MultiStepLR', milestones=[1]),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(
                type='CheckpointHook',
                interval=1,
                save_best='AP',
                rule='greater')),
        custom_hooks=[dict(type='EMAHook', momentum=0.5)],
        default_scope='mmpose',
        experiment_name=f'toy_{os.path.basename(str(work_dir))}_{epochs}',
        log_level='ERROR',
        **kwargs)


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    """A short training run of MMEngine."""
    folder = tmp_path_factory.mktemp('work_dir')
    make_runner(
        folder,
        cfg=dict(
            model=dict(init_cfg=dict(checkpoint='/home/me/imagenet.pth')),
            data_root='data/coco/')).train()
    return folder


@pytest.fixture
def trained(work_dir):
    return work_dir / 'epoch_1.pth'


def load(path):
    return torch.load(str(path), map_location='cpu', weights_only=True)


@pytest.mark.promise('weights-only')
@refusing_torch
def test_mmengine_checkpoint_loads_with_weights_only(trained):
    with zipfile.ZipFile(str(trained)) as archive:
        name, = [n for n in archive.namelist() if n.endswith('data.pkl')]
        stored = archive.read(name)
    assert b'__builtin__\ngetattr' in stored
    assert b'HistoryBuffer' in stored

    checkpoint = load(trained)

    log = checkpoint['message_hub']['log_scalars']['train/loss']
    assert type(log) is HistoryBuffer
    assert log.data[0].shape == (2, ) and log.data[0].dtype == np.float64
    assert log.mean() == log.statistics('mean')
    log.update(1.)
    assert log.current() == 1.
    sigmas = checkpoint['meta']['dataset_meta']['sigmas']
    assert isinstance(sigmas, np.ndarray) and sigmas.dtype == np.float32
    assert sigmas[0] == np.float32(0.026)
    info = checkpoint['message_hub']['runtime_info']
    assert info['best_score'] == 0.5


@pytest.mark.promise('weights-only')
@refusing_torch
def test_without_the_allow_list_torch_refuses(trained):
    """Otherwise the tests above would prove nothing."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(pickle.UnpicklingError):
            load(trained)
    finally:
        torch.serialization.add_safe_globals(allowed)


@pytest.mark.promise('weights-only')
@refusing_torch
def test_mmengine_loads_and_resumes(trained, tmp_path):
    model = ToyModel()
    load_checkpoint(model, str(trained), map_location='cpu')
    torch.testing.assert_close(
        dict(model.state_dict()), dict(load(trained)['state_dict']))

    runner = make_runner(tmp_path, 2, load_from=str(trained), resume=True)
    runner.train()

    assert runner.epoch == 2
    loss = runner.message_hub.get_scalar('train/loss')
    assert len(loss.data[0]) == 4
    # What was loaded can be saved and loaded again.
    assert load(tmp_path / 'epoch_2.pth')['meta']['epoch'] == 2


@refusing_torch
def test_arrays_pickle_as_ordinary_ones(trained):
    sigmas = load(trained)['meta']['dataset_meta']['sigmas']
    for protocol in (2, 4, pickle.HIGHEST_PROTOCOL):
        data = pickle.dumps(sigmas, protocol)
        assert b'lgm_pose_plugin' not in data
        assert type(pickle.loads(data)) is np.ndarray
        np.testing.assert_array_equal(pickle.loads(data), sigmas)


@refusing_torch
@pytest.mark.parametrize(
    'value', [
        np.array([[1, 2], [3, 4]]),
        np.asfortranarray(np.arange(6, dtype='f4').reshape(2, 3)),
        np.zeros((0, 3)),
        np.arange(500.),
        np.array(True),
        np.float32(1.5),
        np.int64(-3),
        np.bool_(True),
        np.array([]),
    ],
    ids=repr)
@pytest.mark.parametrize('module', ['numpy.core', 'numpy._core'])
def test_arrays_of_either_numpy(tmp_path, value, module):
    data = pickle.dumps(value, 2).replace(multiarray.__name__.encode(),
                                          f'{module}.multiarray'.encode())
    assert module.encode() in data
    loaded = load(write(tmp_path, data))
    np.testing.assert_array_equal(loaded, value)
    assert loaded.dtype == value.dtype and loaded.shape == value.shape


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *args, state=None):
        self.value = (function, args, state)

    def __reduce__(self):
        return self.value

    def __call__(self):
        """The pickler wants a function to be callable."""


def hostile_buffer(**changes):
    buffer = HistoryBuffer([1.], [1])
    buffer.__dict__.update(dict({'statistics_methods': {}}, **changes))
    return buffer


def dumps(value):
    """Pickle as ``torch.save`` does, HistoryBuffers as their fields say."""
    with mock.patch.object(HistoryBuffer, '__getstate__',
                           lambda self: self.__dict__):
        return pickle.dumps(value, 2)


def write(folder, data):
    """Make torch's zip file of a pickle."""
    path = folder / 'hostile.pth'
    torch.save(0, str(path))
    with zipfile.ZipFile(str(path)) as archive:
        files = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(str(path), 'w') as archive:
        for name, content in files.items():
            archive.writestr(name,
                             data if name.endswith('data.pkl') else content)
    return path


HOSTILE = {
    'os.system':
    lambda mark: Call(os.system, f'touch {mark}'),
    'eval':
    lambda mark: Call(eval, f'open({mark!r}, "w")'),
    'partial':
    lambda mark: Call(functools.partial, os.system, mark),
    'getattr_of_a_module_class':
    lambda mark: Call(getattr, torch.Tensor, '__init__'),
    'getattr_of_another_class':
    lambda mark: Call(getattr, torch.Tensor, 'max'),
    'getattr_globals':
    lambda mark: Call(getattr, Call(getattr, HistoryBuffer, 'mean'),
                      '__globals__'),
    'getattr_init':
    lambda mark: Call(getattr, HistoryBuffer, '__init__'),
    'getattr_register':
    lambda mark: Call(getattr, HistoryBuffer, 'register_statistics'),
    'calling_a_statistics_method':
    lambda mark: Call(Call(getattr, HistoryBuffer, 'mean'), 1),
    'object_array':
    lambda mark: np.array([{}, 'a'], dtype=object),
    'object_dtype':
    lambda mark: np.dtype('O'),
    'object_dtype_without_state':
    lambda mark: Call(np.dtype, 'O', False, True),
    'dtype_of_a_class':
    lambda mark: Call(np.dtype, HistoryBuffer),
    'structured_dtype':
    lambda mark: np.zeros(2, [('a', 'O'), ('b', 'f4')]),
    'string_array':
    lambda mark: np.array(['a']),
    'short_scalar':
    lambda mark: Call(multiarray.scalar, np.dtype('f8'), b'\0' * 4),
    'object_scalar':
    lambda mark: Call(multiarray.scalar, np.dtype('O'),
                      pickle.dumps(Call(os.system, f'touch {mark}'))),
    'scalar_of_an_object':
    lambda mark: Call(multiarray.scalar, np.dtype('f8'), 'text'),
    'ndarray_over_a_buffer':
    lambda mark: Call(np.ndarray, (2, ), 'f8', np.zeros(2)),
    'ndarray_of_objects':
    lambda mark: Call(np.ndarray, (2, ), 'O'),
    'reconstruct_objects':
    lambda mark: Call(multiarray._reconstruct, np.ndarray, (3, ), 'O'),
    'reconstruct_other_type':
    lambda mark: Call(multiarray._reconstruct, HistoryBuffer, (0, ), b'b'),
    'array_of_text':
    lambda mark: Call(
        multiarray._reconstruct,
        np.ndarray, (0, ),
        b'b',
        state=(1, (1, ), np.dtype('f8'), False, '12345678')),
    'array_of_a_list':
    lambda mark: Call(
        multiarray._reconstruct,
        np.ndarray, (0, ),
        b'b',
        state=(1, (1, ), np.dtype('f8'), False, [1])),
    'buffer_by_call':
    lambda mark: Call(HistoryBuffer, [1.], [1]),
    'buffer_replaces_mean':
    lambda mark: hostile_buffer(statistics_methods={'mean': HistoryBuffer.max}
                                ),
    'buffer_adds_a_method':
    lambda mark: hostile_buffer(statistics_methods={'new': HistoryBuffer.max}),
    'buffer_hides_a_method':
    lambda mark: hostile_buffer(update=1),
    'buffer_of_lists':
    lambda mark: hostile_buffer(_log_history=[1.]),
}


@pytest.mark.promise('allow-list')
@refusing_torch
@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_pickles_are_refused(tmp_path, name):
    mark = tmp_path / 'executed'
    HistoryBuffer([1.], [1])
    before = dict(HistoryBuffer._statistics_methods)
    path = write(tmp_path, dumps(HOSTILE[name](str(mark))))
    with pytest.raises(pickle.UnpicklingError):
        load(path)
    with pytest.raises(ValueError, match='refused'):
        publish_checkpoint(path)
    assert not mark.exists()
    assert HistoryBuffer._statistics_methods == before
    assert os.listdir(str(tmp_path)) == [path.name]


@pytest.mark.promise('allow-list')
@refusing_torch
def test_hostile_dtype_state_changes_nothing(tmp_path):
    """A forged state (object flag, a field) must not reach a dtype."""
    number = np.dtype('f8')
    forged = Call(
        np.dtype,
        'f8',
        False,
        True,
        state=(3, '>', None, ('a', ), {
            'a': (np.dtype('i8'), 0)
        }, -1, -1, 63))
    loaded = load(write(tmp_path, pickle.dumps(forged, 2)))
    assert loaded == number and not loaded.hasobject
    assert number.fields is None and number.flags == 0 and number.isnative


@pytest.mark.promise('allow-list')
@refusing_torch
def test_an_array_is_filled_once(tmp_path):
    """numpy frees the old memory even while a tensor shares it."""
    data = pickle.dumps(np.arange(3.), 2)
    assert data.endswith(b'b.')
    # Keep the state (at the top of the stack before BUILD) and set it twice.
    put = b'r\xff\0\0\0'
    twice = data[:-2] + put + b'b' + b'j\xff\0\0\0' + b'b.'
    np.testing.assert_array_equal(pickle.loads(twice), np.arange(3.))
    with pytest.raises(pickle.UnpicklingError, match='filled twice'):
        load(write(tmp_path, twice))


@pytest.mark.promise('allow-list')
@refusing_torch
def test_nothing_else_can_be_named(monkeypatch):
    """torch joins module and name with a dot, so the rest has no name."""
    entries = []
    monkeypatch.setattr(torch.serialization, 'add_safe_globals',
                        entries.extend)
    allow_mmengine_checkpoints()
    for value, name in entries:
        if '.' in name:
            assert value.__module__ == unpickling.__name__
        else:
            assert value is not type(np.dtype('O'))


@refusing_torch
def test_works_beside_an_allow_list_of_real_functions(trained):
    """onedl-mmengine and users' work-arounds register the real ones.

    Which of two entries of the same name torch takes is chance, so every
    mixture must load.
    """
    real = {
        'builtins.getattr': getattr,
        'numpy.dtype': np.dtype,
        'numpy.ndarray': np.ndarray,
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        f'{multiarray.__name__}._reconstruct': multiarray._reconstruct,
        f'{multiarray.__name__}.scalar': multiarray.scalar,
    }
    ours = [
        entry for entry in torch.serialization.get_safe_globals()
        if isinstance(entry, tuple)
    ]
    assert set(real) <= {name for _, name in ours}
    names = sorted(real)
    try:
        for choice in range(2**len(names)):
            chosen = {
                name
                for bit, name in enumerate(names) if choice >> bit & 1
            }
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(
                [entry for entry in ours if entry[1] not in chosen] +
                [(real[name], name) for name in chosen])
            checkpoint = load(trained)
            log = checkpoint['message_hub']['log_scalars']['train/loss']
            assert log.data[0].shape == (2, )
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(ours)


@refusing_torch
def test_allowing_twice_changes_nothing():
    allow_mmengine_checkpoints()
    before = set(torch.serialization.get_safe_globals())
    allow_mmengine_checkpoints()
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize('version', ['1.13.1+cu117', '2.4.0', '2.5.1'])
def test_old_torch_is_left_alone(monkeypatch, version):
    monkeypatch.setattr(torch, '__version__', version)
    monkeypatch.delattr(torch.serialization, 'add_safe_globals', raising=False)
    allow_mmengine_checkpoints()


@pytest.mark.parametrize('version', ['2.6.0', '2.6.0a0+nv25.01', '3.0.0'])
def test_refusing_torch_gets_the_list(monkeypatch, version):
    calls = []
    monkeypatch.setattr(torch, '__version__', version)
    monkeypatch.setattr(
        torch.serialization, 'add_safe_globals', calls.append, raising=False)
    allow_mmengine_checkpoints()
    assert len(calls) == 1


@pytest.mark.promise('publish')
@refusing_torch
def test_published_weights_need_no_allow_list(trained, tmp_path):
    out = publish_checkpoint(trained, tmp_path)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(str(out)) == []
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        published = load(out)
    finally:
        torch.serialization.add_safe_globals(allowed)
    assert list(published) == ['meta', 'state_dict']
    meta = published['meta']
    assert meta['epoch'] == 1 and meta['iter'] == 2
    assert meta['lgm_pose_plugin_version']
    assert 'dataset_meta' not in meta


@pytest.mark.promise('publish')
def test_published_weights_are_the_averaged_ones(trained, tmp_path):
    checkpoint = torch.load(trained, weights_only=False)
    published = load(publish_checkpoint(trained, tmp_path))
    averaged, plain = checkpoint['state_dict'], checkpoint['ema_state_dict']
    # EMAHook swaps: what it calls `ema_state_dict` in the file is not.
    assert not torch.equal(averaged['linear.weight'],
                           plain['module.linear.weight'])
    assert torch.equal(published['state_dict']['linear.weight'],
                       averaged['linear.weight'])
    assert published['state_dict']._metadata == averaged._metadata


def test_publish_half(trained, tmp_path):
    whole = load(publish_checkpoint(trained, tmp_path / 'whole'))['state_dict']
    half = load(publish_checkpoint(trained, tmp_path / 'half', half=True))
    half = half['state_dict']
    assert list(half) == list(whole) and half._metadata == whole._metadata
    for name, value in whole.items():
        is_weight = value.dim() > 1
        assert half[name].dtype == (torch.float16
                                    if is_weight else value.dtype), name
        torch.testing.assert_close(
            half[name].to(value.dtype), value, rtol=1e-3, atol=1e-4)
    assert any(value.dtype == torch.float16 for value in half.values())


def test_publish_half_too_large(trained, tmp_path):
    checkpoint = torch.load(trained, weights_only=False)
    name, = (key for key, value in checkpoint['state_dict'].items()
             if value.dim() > 1)
    checkpoint['state_dict'][name][:] = 1e5
    torch.save(checkpoint, tmp_path / 'large.pth')
    with pytest.raises(ValueError, match=f'{name} has values up to 1e'):
        publish_checkpoint(tmp_path / 'large.pth', tmp_path / 'o', half=True)
    assert not (tmp_path / 'o').exists()


@pytest.mark.promise('publish')
def test_published_name_holds_the_hash(trained, tmp_path):
    out = publish_checkpoint(trained, tmp_path / 'new' / 'lgm.pth')
    match = re.fullmatch(r'lgm-([0-9a-f]{8})_\d{8}\.pth', out.name)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert match and match.group(1) == digest[:8]
    assert os.listdir(str(out.parent)) == [out.name]


@pytest.mark.promise('publish')
def test_publishing_is_deterministic(trained, tmp_path):
    first = publish_checkpoint(trained, tmp_path / 'a')
    copied = shutil.copy(str(trained), str(tmp_path / 'copy.pth'))
    second = publish_checkpoint(copied, tmp_path / 'b' / 'other.pth')
    assert first.name.startswith('epoch_1-')
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.promise('publish')
def test_published_config_names_no_machine(trained, tmp_path):
    cfg = load(publish_checkpoint(trained, tmp_path))['meta']['cfg']
    assert '/home' not in cfg and '/tmp' not in cfg and 'work_dir' not in cfg
    values = {}
    exec(cfg, values)
    assert values['data_root'] == 'data/coco/'
    assert values['model']['init_cfg']['checkpoint'] == 'imagenet.pth'


@pytest.mark.parametrize('before, after', [
    ("work_dir = '/x'\nresume = True\nload_from = (\n '/a'\n 'b')\nb = 1\n",
     'b = 1\n'),
    ("b = dict(é='/x/é/y/', c='C:\\\\me\\\\d')\n", "b = dict(é='y', c='d')\n"),
    ("b = 'https://a/b', 'data/coco', '~/coco'\n",
     "b = 'https://a/b', 'data/coco', 'coco'\n"),
    ('b = <class float>\n', None),
    ('b = ' + '-' * 200000 + '1\n', None),
    ('b = "\0"\n', None),
])
def test_portable_config(before, after):
    assert publishing._portable_config(before) == after


@pytest.mark.promise('truncated')
def test_unreadable_input_leaves_nothing(trained, tmp_path):
    data = trained.read_bytes()
    cases = dict(
        empty=b'', truncated=data[:len(data) // 2], text=b'hello world')
    for name, content in cases.items():
        path = tmp_path / f'{name}.pth'
        path.write_bytes(content)
        with pytest.raises(ValueError, match='not a checkpoint') as error:
            publish_checkpoint(path, tmp_path / 'out')
        assert str(path) in str(error.value)
    for name, content in dict(
            no_state=dict(meta={}),
            array=torch.zeros(2),
            text=dict(state_dict={'a': 'b'})).items():
        path = tmp_path / f'{name}.pth'
        torch.save(content, str(path))
        with pytest.raises(ValueError, match='state_dict') as error:
            publish_checkpoint(path, tmp_path / 'out')
        assert str(path) in str(error.value)
    with pytest.raises(FileNotFoundError, match='missing.pth'):
        publish_checkpoint(tmp_path / 'missing.pth', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.promise('one-line-errors')
def test_a_failed_write_leaves_nothing(trained, tmp_path, monkeypatch):

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='disk full'):
        publish_checkpoint(trained, tmp_path)
    assert os.listdir(str(tmp_path)) == []
