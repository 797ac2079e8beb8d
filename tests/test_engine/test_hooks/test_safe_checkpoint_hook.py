import itertools
import os
import shutil
from types import SimpleNamespace

import mmengine.runner.runner
import pytest
import torch
import torch.nn.functional as F
from mmengine import Config
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_file_backend
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import EpochBasedTrainLoop, Runner, find_latest_checkpoint
from mmpose.registry import HOOKS
from torch import nn

from lgm_pose_plugin.engine.hooks import SafeCheckpointHook


class Net(BaseModel):
    """One layer, whose bias is the metric."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def init_weights(self):
        """Keep the weights the test has given."""

    def forward(self, x, mode):
        if mode == 'predict':
            return [self.layer.bias.item()]
        return dict(loss=F.mse_loss(self.layer(x), x[:, :1] - 9))


class Bias(BaseMetric):
    """The network's bias, which sinks, and a number."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        value = results[0] + self.number
        return dict(bias=value, other=value)


class Validations(Hook):
    """Count validations and what is there when a checkpoint is saved."""

    def __init__(self):
        self.epochs = []
        self.present = []

    def after_val_epoch(self, runner, metrics):
        self.epochs.append((runner.epoch, metrics['bias']))

    def before_save_checkpoint(self, runner, checkpoint):
        self.present.append(names(runner.work_dir))


def names(folder):
    return sorted(name for name in os.listdir(folder) if '.pth' in name)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train, or resume, in ``tmp_path``; returns what was validated."""
    # MMEngine waits between epochs when it trains by iterations.
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    runs = itertools.count()

    def train(epochs,
              resume=False,
              by_epoch=True,
              saves_by_epoch=None,
              train_cfg=dict(),
              bias=0,
              batch_size=1,
              config=None,
              load_from=None,
              **kwargs):
        checkpoint = dict(
            type='SafeCheckpointHook',
            interval=1,
            max_keep_ckpts=1,
            by_epoch=by_epoch if saves_by_epoch is None else saves_by_epoch,
            save_best='bias',
            rule='less')
        checkpoint.update(kwargs)
        torch.manual_seed(0)
        loader = dict(
            dataset=[dict(x=torch.ones(2)),
                     dict(x=torch.zeros(2))],
            batch_size=1,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False))
        length = dict(max_epochs=epochs) if by_epoch else dict(
            max_iters=epochs)
        validations = Validations()
        cfg = dict(
            model=Net(),
            work_dir=str(tmp_path),
            train_dataloader=dict(
                loader,
                batch_size=batch_size,
                sampler=dict(type='DefaultSampler', shuffle=True)),
            val_dataloader=loader,
            val_evaluator=[Bias(bias)],
            val_cfg=dict(),
            train_cfg=dict(
                dict(by_epoch=by_epoch, val_interval=2, **length),
                **train_cfg),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=checkpoint),
            custom_hooks=[validations],
            cfg=config,
            load_from=load_from,
            resume=resume,
            default_scope='mmpose',
            log_level='ERROR',
            experiment_name=f'{tmp_path}-{next(runs)}')
        runner = Runner(**cfg)
        runner.train()
        return validations

    return train


def test_registered_with_mmengine_arguments():
    hook = HOOKS.build(
        dict(type='SafeCheckpointHook', interval=3, max_keep_ckpts=2))
    assert type(hook) is SafeCheckpointHook
    assert (hook.interval, hook.max_keep_ckpts) == (3, 2)
    assert hook.backend_args == dict(backend='local_whole')
    other = SafeCheckpointHook(backend_args=dict(backend='local'))
    assert other.backend_args == dict(backend='local')


def test_file_is_replaced_whole(tmp_path, monkeypatch):
    backend = get_file_backend(backend_args=dict(backend='local_whole'))
    path = tmp_path / 'new' / 'file.pth'
    backend.put(b'old', path)
    assert path.read_bytes() == b'old'

    def no_space(descriptor):
        raise OSError('no space')

    monkeypatch.setattr(os, 'fsync', no_space)
    with pytest.raises(OSError, match='no space'):
        backend.put(b'new', path)
    assert path.read_bytes() == b'old'
    assert os.listdir(path.parent) == ['file.pth']


@pytest.mark.promise('half-written-checkpoints')
def test_old_ones_stay_until_the_new_one_is_there(train, tmp_path):
    validations = train(4)
    assert [epoch for epoch, _ in validations.epochs] == [2, 4]
    assert validations.epochs[0][1] > validations.epochs[1][1]
    best = 'best_bias_epoch_{}.pth'.format
    assert validations.present == [
        [],  # epoch 1
        ['epoch_1.pth'],  # epoch 2, the best, epoch 2 with the best's name
        ['epoch_2.pth'],
        [best(2), 'epoch_2.pth'],
        [best(2), 'epoch_2.pth'],  # epoch 3
        [best(2), 'epoch_3.pth'],  # epoch 4 likewise
        [best(2), 'epoch_4.pth'],
        [best(4), 'epoch_4.pth']
    ]
    assert names(tmp_path) == [best(4), 'epoch_4.pth']


@pytest.mark.promise('half-written-checkpoints')
def test_old_ones_stay_if_there_is_no_space(train, tmp_path, monkeypatch):
    train(1)

    def no_space(descriptor):
        raise OSError('no space')

    monkeypatch.setattr(os, 'fsync', no_space)
    with pytest.raises(OSError, match='no space'):
        train(2, resume=True)
    assert names(tmp_path) == ['best_bias_epoch_1.pth', 'epoch_1.pth']


@pytest.mark.promise('lost-validation')
def test_validation_is_made_up_for(train, tmp_path):
    whole = train(2)
    again = train(2, resume=True)
    assert again.epochs == whole.epochs
    assert again.present == []  # was the best before
    # As a kill in the validation leaves it, at the last epoch and before.
    for path in tmp_path.glob('*.pth'):
        path.unlink()
    train(2, save_best=None)
    assert train(2, resume=True).epochs == whole.epochs
    assert names(tmp_path) == ['best_bias_epoch_2.pth', 'epoch_2.pth']
    assert [epoch for epoch, _ in train(3, resume=True).epochs] == [2, 3]
    assert train(4, resume=True).epochs[0][0] == 4


def test_last_validation_is_made_up_for(train):
    train(3, save_best=None)  # validates every second epoch, and the last
    validations = train(3, resume=True)
    assert [epoch for epoch, _ in validations.epochs] == [3]


def test_no_validation_before_val_begin(train):
    late = dict(val_begin=4)
    assert train(2, save_best=None, train_cfg=late).epochs == []
    validations = train(4, resume=True, train_cfg=late)
    assert [epoch for epoch, _ in validations.epochs] == [4]


def test_validation_is_made_up_for_by_iterations(train, tmp_path):
    whole = train(4, by_epoch=False, save_best=None)
    assert len(whole.epochs) == 2
    again = train(4, by_epoch=False, resume=True)
    assert [bias for _, bias in again.epochs] == [whole.epochs[-1][1]]
    assert names(tmp_path) == ['best_bias_iter_4.pth', 'iter_4.pth']


def test_validation_is_made_up_for_at_changing_intervals(train, tmp_path):
    changing = dict(val_interval=5, dynamic_intervals=[(3, 1)])
    whole = train(3, train_cfg=changing)
    assert [epoch for epoch, _ in whole.epochs] == [2, 3]
    for path in tmp_path.glob('*.pth'):
        path.unlink()
    train(2, save_best=None, train_cfg=changing)
    assert train(3, resume=True, train_cfg=changing).epochs == whole.epochs


@pytest.mark.parametrize('save_best', ['bias', ['bias', 'other']])
def test_a_better_repeated_validation_keeps_the_best(train, tmp_path,
                                                     save_best):
    """As on another device, which computes a little otherwise."""
    train(2, save_best=save_best)
    kept = names(tmp_path)
    assert len(kept) == (2 if save_best == 'bias' else 3)
    resumed = train(2, resume=True, save_best=save_best, bias=-1e-3)
    assert resumed.present  # written anew
    assert names(tmp_path) == kept


@pytest.mark.parametrize('template', ['epoch_{:03d}.pth', 'e{}.pth'])
def test_newest_whole_checkpoint_of_other_names(train, tmp_path, template):
    train(2, max_keep_ckpts=2, save_best=None, filename_tmpl=template)
    (tmp_path / template.format(2)).unlink()
    train(
        2,
        resume=True,
        max_keep_ckpts=2,
        save_best=None,
        filename_tmpl=template)
    assert names(tmp_path) == [template.format(1), template.format(2)]


@pytest.mark.parametrize('last, validated', [(1, [1, 2]), (3, [2])])
def test_resuming_within_an_epoch(train, tmp_path, monkeypatch, last,
                                  validated):
    """Of checkpoints by iterations in a training by epochs."""
    options = dict(
        saves_by_epoch=False,
        save_best=None,
        max_keep_ckpts=-1,
        train_cfg=dict(val_interval=1))
    train(2, **options)
    for iteration in range(last + 1, 5):
        (tmp_path / f'iter_{iteration}.pth').unlink()
    told = []
    monkeypatch.setattr(mmengine.logging.MMLogger, 'warning',
                        lambda self, message, *args: told.append(message))
    validations = train(2, resume=True, **options)
    assert any('had begun starts anew' in message for message in told)
    assert [epoch for epoch, _ in validations.epochs] == validated


@pytest.mark.parametrize('batch_size, warned', [(1, 0), (2, 1)])
def test_another_number_of_iterations_is_told(train, monkeypatch, batch_size,
                                              warned):
    train(1)
    told = []
    monkeypatch.setattr(mmengine.logging.MMLogger, 'warning',
                        lambda self, message, *args: told.append(message))
    train(2, resume=True, batch_size=batch_size)
    told = [message for message in told if 'An epoch now has' in message]
    assert len(told) == warned
    assert all('now has 1 iterations' in message for message in told)


@pytest.mark.promise('half-written-checkpoints')
@pytest.mark.parametrize('damage', ['missing', 'truncated', 'empty'])
def test_newest_whole_checkpoint_is_taken(train, tmp_path, monkeypatch,
                                          damage):
    train(3, max_keep_ckpts=3, save_best=None)
    if damage == 'missing':
        (tmp_path / 'epoch_3.pth').unlink()
    elif damage == 'truncated':
        data = (tmp_path / 'epoch_3.pth').read_bytes()
        (tmp_path / 'epoch_3.pth').write_bytes(data[:-30])
    else:
        (tmp_path / 'last_checkpoint').write_text('')
    for epoch in (1, 2, 3):
        path = tmp_path / f'epoch_{epoch}.pth'
        if path.exists():
            os.utime(path, (epoch, epoch))
    # Of another run, in the current folder.
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    shutil.copy(str(tmp_path / 'epoch_1.pth'), str(elsewhere))
    os.utime(elsewhere / 'epoch_1.pth', (9, 9))
    monkeypatch.chdir(elsewhere)
    hook = SafeCheckpointHook(max_keep_ckpts=3)
    warnings = []
    hook.before_run(
        SimpleNamespace(
            _resume=True,
            _load_from=None,
            work_dir=str(tmp_path),
            logger=SimpleNamespace(warning=warnings.append)))
    newest = 3 if damage == 'empty' else 2
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path /
                                                        f'epoch_{newest}.pth')
    assert f'resuming from {tmp_path}/epoch_{newest}.pth' in warnings[0]
    assert [epoch for epoch, _ in train(4, resume=True).epochs
            ] == ([2, 4] if newest == 2 else [4])


@pytest.mark.promise('half-written-checkpoints')
def test_no_whole_checkpoint_is_an_error(train, tmp_path):
    train(1)
    (tmp_path / 'epoch_1.pth').write_bytes(b'PK')
    with pytest.raises(FileNotFoundError, match='epoch_1.pth.* start anew'):
        train(2, resume=True)
    # It is still there to be looked at, and does not stop a new training.
    assert (tmp_path / 'last_checkpoint').exists()
    train(2)


@pytest.mark.promise('resume-of-nothing')
def test_resume_of_nothing_begins_with_load_from(train, tmp_path):
    start = tmp_path / 'start.pth'
    torch.save(
        dict(state_dict={
            'layer.weight': torch.ones(1, 2),
            'layer.bias': torch.tensor([5.])
        }), start)
    path = tmp_path / 'configs/config.py'
    path.parent.mkdir()
    path.write_text(f'load_from = {str(start)!r}')
    config = Config.fromfile(path)
    # As MMPose does because of `--resume`.
    config.load_from = None
    begun = train(2, resume=True, config=config, batch_size=2)
    plain = train(2, load_from=str(start), batch_size=2)
    assert begun.epochs == plain.epochs
    # Now there is something to resume, and the start is not read again.
    start.unlink()
    assert train(4, resume=True, config=config, batch_size=2).epochs


def loading(loop=None, resume=False):
    """A runner that loads a checkpoint."""
    return SimpleNamespace(model=Net(), _train_loop=loop, _resume=resume)


FOREIGN = {
    'of another shape': {
        'layer.weight': torch.ones(3, 2),
        'layer.bias': torch.ones(3)
    },
    'missing': {
        'layer.weight': torch.ones(1, 2)
    },
    'superfluous': {
        'layer.weight': torch.ones(1, 2),
        'layer.bias': torch.ones(1),
        'more': torch.ones(1)
    }
}


@pytest.mark.promise('foreign-weights')
@pytest.mark.parametrize('name', FOREIGN)
def test_tests_and_resumed_trainings_want_all_weights(name):
    """MMEngine would leave the rest random behind a warning."""
    hook = SafeCheckpointHook()
    checkpoint = dict(state_dict=FOREIGN[name])
    training = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    for runner in (loading(), loading(dict(type='EpochBasedTrainLoop')),
                   loading(training, resume=True)):
        with pytest.raises(ValueError, match='not of the network in the con'):
            hook.after_load_checkpoint(runner, checkpoint)
    hook.after_load_checkpoint(loading(training), checkpoint)  # fine-tuning
    good = {f'module.{k}': v for k, v in Net().state_dict().items()}
    hook.after_load_checkpoint(loading(), dict(state_dict=good))


@pytest.mark.promise('foreign-weights')
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_resuming_from_broken_weights(train, tmp_path, value):
    train(1)
    path = tmp_path / 'epoch_1.pth'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['state_dict']['layer.weight'][0, 0] = value
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match='layer.weight is not finite'):
        train(2, resume=True)


@pytest.mark.promise('resume-payload')
def test_resuming_does_not_run_the_checkpoint(train, tmp_path, monkeypatch):
    """Runner.resume runs `meta['config']`, whatever torch's version is."""
    train(1)
    path, mark = tmp_path / 'epoch_1.pth', tmp_path / 'executed'
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['meta']['config'] = f'open({str(mark)!r}, "w").close()'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match="a meta.'config'., which"):
        train(2, resume=True)
    assert not mark.exists()
    # Without the hook's part it would have run.
    monkeypatch.setattr(SafeCheckpointHook, 'after_load_checkpoint',
                        lambda *args, **kwargs: None)
    train(2, resume=True)
    assert mark.exists()
