"""A loss that is no number ends the training, and its batch is known."""
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from lgm_pose_plugin.engine.hooks import InvalidLossHook


class Spoiler(Hook):
    """Do something to a batch or the weights before one iteration."""

    def __init__(self, at, spoil):
        self.at = at
        self.spoil = spoil
        self.paths = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            self.paths = [one.img_path for one in data_batch['data_samples']]
            self.spoil(runner, data_batch)


def spoil_target(runner, data_batch):
    data_batch['data_samples'][2].gt_fields.heatmaps[0, 3, 3] = math.nan


def spoil_input(runner, data_batch):
    image = data_batch['inputs'][1].float()
    data_batch['inputs'] = [one.float() for one in data_batch['inputs']]
    data_batch['inputs'][1][:] = image.fill_(math.inf)


def spoil_weight(runner, data_batch):
    runner.model.head.final_layer.bias.data[4] = math.inf


@pytest.mark.promise('invalid-loss')
@pytest.mark.parametrize('spoil, at, faulty, collate', [
    (spoil_target, 1, 'targets_finite', 'pseudo_collate'),
    (spoil_target, 1, 'targets_finite', 'stack_collate'),
    (spoil_input, 0, 'inputs_finite', 'pseudo_collate'),
    (spoil_weight, 1, None, 'pseudo_collate'),
])
def test_stops_and_writes_the_batch(rendered_run, spoil, at, faulty, collate):
    rendered_run.train_dataloader.collate_fn = dict(type=collate)
    rendered_run.default_hooks.checkpoint.update(by_epoch=False, interval=1)
    runner = Runner.from_cfg(rendered_run)
    spoiler = Spoiler(at, spoil)
    runner.register_hook(spoiler)
    with pytest.raises(FloatingPointError, match=f'in iteration {at + 1}; '):
        runner.train()
    with open(f'{runner.log_dir}/invalid_loss_rank0.json') as file:
        report = json.load(file)
    assert report['iteration'] == at + 1 and report['epoch'] == 1
    assert not math.isfinite(float(report['losses']['loss']))
    samples = report['samples']
    assert [one['image'] for one in samples] == spoiler.paths
    assert all(one['image'].endswith(f'{one["image_id"]:012d}.jpg')
               for one in samples)
    assert all(isinstance(one['annotation'], int) for one in samples)
    for key, place in (('inputs_finite', 1), ('targets_finite', 2)):
        assert [one[key] for one in samples
                ] == [key != faulty or i != place for i in range(4)]
    saved = sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))
    assert saved == [f'iter_{number}.pth' for number in range(1, at + 1)]


@pytest.mark.promise('invalid-loss')
def test_broken_weights_are_not_saved(rendered_run, tmp_path):

    class BreakLater(Hook):
        """After the loss, as gradients that are no numbers do."""

        def after_train_iter(self, runner, *args, **kwargs):
            spoil_weight(runner, None)

    rendered_run.default_hooks.checkpoint.update(by_epoch=False, interval=1)
    runner = Runner.from_cfg(rendered_run)
    runner.register_hook(BreakLater())
    with pytest.raises(FloatingPointError, match='head.final_layer.bias'):
        runner.train()
    assert not list(tmp_path.rglob('*.pth'))


def look_at(rank, folder, losses):
    """What the hook does on one rank: its error, or nothing."""
    runner = SimpleNamespace(
        log_dir=folder, iter=6, epoch=0, optim_wrapper=None)
    try:
        InvalidLossHook().after_train_iter(
            runner,
            0,
            data_batch=dict(inputs=[], data_samples=[]),
            outputs=dict(loss=torch.tensor(losses[rank])))
    except FloatingPointError as error:
        return str(error)
    return None


@pytest.mark.promise('invalid-loss')
def test_all_ranks_stop(in_two_processes, tmp_path):
    losses = [0.5, math.nan]
    first, second = in_two_processes(look_at, str(tmp_path), losses)
    assert 'in iteration 7 the loss of another rank than 0' in first
    assert 'the loss is nan in iteration 7' in second
    names = [path.name for path in tmp_path.glob('*.json')]
    assert names == ['invalid_loss_rank1.json']
    assert in_two_processes(look_at, str(tmp_path), [0.5, 7.]) == [None, None]


def test_loss_scaling_leaves_out_steps(tmp_path):
    hook = InvalidLossHook()
    runner = SimpleNamespace(
        log_dir=str(tmp_path),
        iter=6,
        epoch=0,
        optim_wrapper=SimpleNamespace(loss_scaler=None))

    def step(loss):
        hook.after_train_iter(
            runner,
            0,
            data_batch=dict(inputs=[], data_samples=[]),
            outputs=dict(loss=torch.tensor(loss)))

    for loss in [math.inf] * 20 + [1.] + [math.inf] * 20:
        step(loss)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FloatingPointError, match='So were the 20 before it'):
        step(math.inf)
    assert [path.name
            for path in tmp_path.iterdir()] == ['invalid_loss_rank0.json']
