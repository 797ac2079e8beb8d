import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import mmengine.runner.runner
import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from mmpose.registry import HOOKS
from torch import nn

from lgm_pose_plugin.engine.hooks import NonLocalRampHook
from lgm_pose_plugin.models.layers import ECANonLocal, NonLocal

# Training takes 4 iterations per epoch.
RAMP = dict(begin=1, end=3)
KILLED = dict(
    # in the ramp, in it with a gamma to be learnt, and while it is learnt
    fixed=dict(RAMP),
    learnt_later=dict(RAMP, learn_gamma=True),
    learnt=dict(begin=0, end=1, learn_gamma=True))


def gammas(*steps, length=8):
    return [pytest.approx(0.2 * step / length, rel=1e-6) for step in steps]


class Net(BaseModel):
    """Two NonLocal layers and a few others."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.first = ECANonLocal(8, reduction=2)
        self.middle = nn.Conv2d(8, 8, 1)
        self.second = NonLocal(8, reduction=4)
        self.head = nn.Conv2d(8, 2, 1)

    def init_weights(self):
        """Keep the weights the test has given."""

    def forward(self, x, target, mode):
        y = self.first(self.stem(x).relu())
        y = self.head(self.second(self.middle(y).relu()))
        return dict(loss=F.mse_loss(y, target)) if mode == 'loss' else y


def weights(model):
    """NonLocal's weights but for gamma, by name."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if '.conv.' in name and not name.endswith('channel.conv.weight')
    }


class Recorder(Hook):
    """Keep and write down what every iteration does."""
    priority = 'VERY_LOW'

    def __init__(self, path=None, kill_at=None):
        self.path = path
        self.kill_at = kill_at
        self.steps = []

    def before_train(self, runner):
        optimizer = runner.optim_wrapper.optimizer
        step = optimizer.step

        def record_gradients(*args, **kwargs):
            self.gradients = {
                name: None if p.grad is None else p.grad.clone()
                for name, p in runner.model.named_parameters()
            }
            return step(*args, **kwargs)

        optimizer.step = record_gradients

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.layers = [
            module for module in runner.model.modules()
            if isinstance(module, NonLocal)
        ]
        self.used = [layer.gamma.item() for layer in self.layers]

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        scalars = runner.message_hub.log_scalars
        self.steps.append(
            SimpleNamespace(
                iter=runner.iter,
                gammas=self.used,
                logged=[scalars[f'train/gamma_{i}'].current() for i in (1, 2)],
                enabled=[layer.enabled for layer in self.layers],
                learn=[layer.learn_gamma for layer in self.layers],
                gradients=self.gradients,
                weights={
                    name: value.detach().clone()
                    for name, value in weights(runner.model).items()
                }))
        if self.path:
            with open(self.path, 'a') as file:
                print(json.dumps([runner.iter, *self.used]), file=file)
        if runner.iter == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def all(self, name):
        return [getattr(step, name) for step in self.steps]


def make_runner(work_dir, hook, recorder, model=None, hooks=(), **kwargs):
    generator = torch.Generator().manual_seed(0)
    dataset = [(torch.randn(3, 6, 5, generator=generator),
                torch.randn(2, 4, 3, generator=generator)) for _ in range(8)]
    torch.manual_seed(0)
    return Runner(
        model=model or Net(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=dataset,
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate')),
        train_cfg=kwargs.pop('train_cfg', dict(by_epoch=True, max_epochs=4)),
        optim_wrapper=dict(
            optimizer=dict(
                type='AdamW', lr=0.05, betas=(0.9, 0.99), weight_decay=0.1)),
        param_scheduler=dict(type='MultiStepLR', milestones=[3]),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1),
            logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[hook, recorder, *hooks],
        randomness=dict(seed=1),
        default_scope='mmengine',
        log_level='ERROR',
        experiment_name=f'{work_dir}-{len(os.listdir(work_dir))}',
        **kwargs)


@pytest.fixture
def train(tmp_path):
    """Train with the hook; returns the model and the record."""

    def train(model=None, hooks=(), **kwargs):
        runner_kwargs = {
            key: kwargs.pop(key)
            for key in ('train_cfg', 'resume') if key in kwargs
        }
        recorder = Recorder()
        runner = make_runner(tmp_path, NonLocalRampHook(**kwargs), recorder,
                             model, hooks, **runner_kwargs)
        runner.train()
        return runner.model, recorder

    return train


@pytest.mark.promise('gamma-ramp')
@pytest.mark.parametrize('kwargs, steps', [
    (RAMP, [0] * 4 + [1, 2, 3, 4, 5, 6, 7, 8] + [8] * 4),
    (dict(begin=0, end=2), [1, 2, 3, 4, 5, 6, 7, 8] + [8] * 8),
    (dict(begin=6, end=14,
          by_epoch=False), [0] * 6 + [1, 2, 3, 4, 5, 6, 7, 8] + [8] * 2),
    (dict(begin=2, end=6), [0] * 8 + [0.5 * step for step in range(1, 9)]),
    (dict(begin=10, end=11, by_epoch=False), [0] * 10 + [8] * 6),
])
def test_schedule(train, kwargs, steps):
    model, record = train(**kwargs)
    assert record.all('iter') == list(range(16))
    for i in (0, 1):
        assert [used[i] for used in record.all('gammas')] == gammas(*steps)
        assert [used[i] for used in record.all('logged')] == gammas(*steps)
    assert record.all('enabled') == [[step > 0] * 2 for step in steps]
    assert record.all('learn') == [[False] * 2] * 16
    for layer in (model.first.non_local, model.second):
        assert [layer.gamma.item()] == gammas(steps[-1])


def test_target(train):
    _, record = train(begin=2, end=6, by_epoch=False, gamma=-1.)
    assert record.all('gammas') == [[pytest.approx(-gamma)] * 2
                                    for gamma in [0, 0, 0.25, 0.5, 0.75] +
                                    [1] * 11]


def test_training_by_iterations(train, monkeypatch):
    # MMEngine waits between epochs.
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    _, record = train(
        begin=1,
        end=2,
        train_cfg=dict(by_epoch=False, max_iters=10, val_interval=100))
    assert [used[0] for used in record.all('gammas')] == gammas(
        0, 0, 0, 0, 1, 2, 3, 4, 4, 4, length=4)


def test_off_then_on(train):
    """No optimizer touches the weights while the layers are off."""
    model = Net()
    start = {name: p.detach().clone() for name, p in weights(model).items()}
    assert len(start) == 16
    gamma_names = {'first.non_local.gamma', 'second.gamma'}
    model, record = train(model, **RAMP)
    previous = start
    for i, step in enumerate(record.steps):
        for name, gradient in step.gradients.items():
            unused = name in gamma_names or (i < 4 and name in start)
            assert (gradient is None) is unused, (i, name)
        for name, value in step.weights.items():
            assert torch.equal(value, previous[name]) is (i < 4), (i, name)
        previous = step.weights
    # phi's biases get none but for rounding
    for name, gradient in record.steps[4].gradients.items():
        if name in start and not name.endswith('phi.conv.bias'):
            assert gradient.abs().max() > 1e-7, name


def test_off_is_off(train):
    """As long as the layers are off the network is one without them."""
    kwargs = dict(begin=50, end=60)
    model = Net()
    without = Net()
    without.load_state_dict(model.state_dict())
    without.first.non_local = nn.Identity()
    without.second = nn.Identity()
    # the hook insists on a layer
    without.unused = nn.ModuleList([NonLocal(8), NonLocal(8)])
    model, _ = train(model, **kwargs)
    without, _ = train(without, **kwargs)
    state = model.state_dict()
    for name, value in without.state_dict().items():
        if not name.startswith('unused'):
            assert torch.equal(state[name], value), name


def test_learn_gamma(train):
    model, record = train(learn_gamma=True, **RAMP)
    steps = [0] * 4 + [1, 2, 3, 4, 5, 6, 7, 8]
    used = record.all('gammas')
    for i in (0, 1):
        assert [one[i] for one in used[:12]] == gammas(*steps)
        # the first learnt iteration still computes with the target
        assert [used[12][i]] == gammas(8)
    learnt = used[12:] + [[
        model.first.non_local.gamma.item(),
        model.second.gamma.item()
    ]]
    for before, after in zip(learnt, learnt[1:]):
        assert before[0] != after[0] and before[1] != after[1]
    assert record.all('logged')[12:] == used[12:]
    assert record.all('learn') == [[False] * 2] * 12 + [[True] * 2] * 4
    for i, step in enumerate(record.steps):
        for name in ('first.non_local.gamma', 'second.gamma'):
            assert (step.gradients[name] is None) is (i < 12)


def test_with_ema(train):
    _, record = train(hooks=[dict(type='EMAHook', momentum=0.1)], **RAMP)
    steps = [0] * 4 + [1, 2, 3, 4, 5, 6, 7, 8] + [8] * 4
    assert [used[1] for used in record.all('gammas')] == gammas(*steps)


def test_registered():
    hook = HOOKS.build(
        dict(type='NonLocalRampHook', begin=60, end=120, gamma=0.3))
    assert type(hook) is NonLocalRampHook
    assert (hook.begin, hook.end, hook.gamma) == (60, 120, 0.3)
    assert hook.by_epoch and not hook.learn_gamma


@pytest.mark.parametrize('begin, end', [(3, 3), (4, 3), (-1, 3), (-3, -1),
                                        (0, 0)])
def test_wrong_arguments(begin, end):
    with pytest.raises(ValueError, match=f'begin={begin}, end={end}'):
        NonLocalRampHook(begin, end)


@pytest.mark.parametrize('end, warned', [(4, 0), (5, 1)])
def test_a_training_that_ends_before(tmp_path, monkeypatch, end, warned):
    runner = make_runner(tmp_path, NonLocalRampHook(1, end), Hook())
    warnings = []
    monkeypatch.setattr(runner.logger, 'warning', warnings.append)
    hook, = (
        hook for hook in runner.hooks if isinstance(hook, NonLocalRampHook))
    hook.before_train(runner)
    assert len(warnings) == warned
    assert all('until 5, but the training ends at 4' in one
               for one in warnings)


def test_no_layer():
    hook = NonLocalRampHook(**RAMP)
    with pytest.raises(ValueError, match='no NonLocal layer'):
        hook.before_train(SimpleNamespace(model=nn.Conv2d(3, 3, 1)))


def test_frozen_layers_keep_their_gamma(tmp_path):
    model = Net()
    model.first.requires_grad_(False)
    model.first.non_local.gamma.fill_(.3)
    hook = NonLocalRampHook(begin=5, end=6)
    make_runner(tmp_path, hook, Hook(), model).train()
    assert model.first.non_local.enabled and not model.second.enabled
    assert model.first.non_local.gamma == pytest.approx(.3)
    with pytest.raises(
            ValueError,
            match='no NonLocal layer in the model that is not frozen'):
        NonLocalRampHook(**RAMP).before_train(
            SimpleNamespace(model=model.first))


@pytest.fixture(scope='module')
def processes(tmp_path_factory):
    """What trainings in processes of their own left, see ``main``."""
    folder = tmp_path_factory.mktemp('processes')
    result = subprocess.run(
        [sys.executable, __file__, str(folder)],
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        text=True)
    assert result.returncode == 0, result.stdout[-3000:]
    return folder


@pytest.mark.e2e
@pytest.mark.promise('gamma-ramp')
@pytest.mark.parametrize('name', KILLED)
def test_kill_and_resume(processes, tmp_path, name):
    killed = processes / name
    whole = Recorder(tmp_path / 'gammas.json')
    runner = make_runner(tmp_path, NonLocalRampHook(**KILLED[name]), whole)
    runner.train()
    expected = [
        json.loads(line) for line in whole.path.read_text().splitlines()
    ]
    assert [one[0] for one in expected] == list(range(16))

    path = killed / 'gammas.json'
    before = [json.loads(line) for line in path.read_text().splitlines()]
    assert before == expected[:10]
    assert (killed / 'epoch_2.pth').exists()
    assert not (killed / 'epoch_3.pth').exists()

    resumed = make_runner(
        killed, NonLocalRampHook(**KILLED[name]), Recorder(path), resume=True)
    resumed.train()
    after = [json.loads(line) for line in path.read_text().splitlines()]
    # MMEngine continues with the epoch that was interrupted.
    assert after[10:] == expected[8:]
    state = resumed.model.state_dict()
    for key, value in runner.model.state_dict().items():
        assert torch.equal(state[key], value), key
    if KILLED[name].get('learn_gamma'):
        assert runner.model.second.gamma.item() != pytest.approx(0.2)


@pytest.fixture(scope='module')
def distributed(processes):
    """What two processes wrote down about their common training."""
    return [torch.load(processes / f'rank{rank}.pth') for rank in (0, 1)]


@pytest.mark.e2e
@pytest.mark.promise('gamma-ramp')
def test_distributed(distributed):
    first, second = distributed
    steps = [0] * 2 + [1, 2, 3, 4] + [4] * 2
    start = first['start']
    assert len(start) == 16
    for rank in distributed:
        assert [used[1] for used in rank['gammas']] == gammas(*steps, length=4)
        for gradients in rank['gradients'][:2]:
            assert all(gradients[name] is None for name in start)
        for name, value in start.items():
            for weights in rank['weights'][:2]:
                assert torch.equal(weights[name], value)
            assert not torch.equal(rank['weights'][2][name], value), name
    # each has its own data, both get the average of the gradients
    assert first['losses'] != second['losses']
    for one, other in zip(first['gradients'], second['gradients']):
        for name, gradient in one.items():
            if gradient is None:
                assert other[name] is None
            else:
                assert torch.equal(gradient, other[name]), name
    for name in start:
        if not name.endswith('phi.conv.bias'):
            assert first['gradients'][2][name].abs().max() > 1e-7
    assert len(first['parameters']) > len(start)
    for name, value in first['parameters'].items():
        assert torch.equal(value, second['parameters'][name]), name


@pytest.mark.e2e
def test_distributed_without_unused_parameters(distributed):
    for rank in distributed:
        assert 'find_unused_parameters=True' in rank['error']


def kill(folder, name):
    work_dir = folder / name
    work_dir.mkdir()
    recorder = Recorder(work_dir / 'gammas.json', kill_at=9)
    make_runner(work_dir, NonLocalRampHook(**KILLED[name]), recorder).train()


def distribute(folder, rank):
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder / "store"}',
        rank=rank,
        world_size=2)
    recorder = Recorder()
    work_dir = folder / str(rank)
    work_dir.mkdir()
    torch.manual_seed(0)
    net = Net()
    start = {name: p.detach().clone() for name, p in weights(net).items()}

    def runner(recorder, find_unused_parameters):
        # MMEngine's own wrapping asks for a GPU.
        return make_runner(
            work_dir, NonLocalRampHook(**RAMP), recorder,
            MMDistributedDataParallel(
                net,
                broadcast_buffers=False,
                find_unused_parameters=find_unused_parameters))

    run = runner(recorder, True)
    run.train()
    record = dict(
        start=start,
        gammas=recorder.all('gammas'),
        losses=MessageHub.get_instance(run.experiment_name).get_scalar(
            'train/loss')._log_history.tolist(),
        parameters={
            name: p.detach().clone()
            for name, p in net.named_parameters()
        })
    for key in ('gradients', 'weights'):
        record[key] = [{
            name.replace('module.', '', 1): value
            for name, value in one.items()
        } for one in recorder.all(key)]
    try:
        runner(Recorder(), False).train()
        record['error'] = 'none'
    except RuntimeError as error:  # of torch
        record['error'] = str(error)
    torch.save(record, folder / f'rank{rank}.pth')
    torch.distributed.destroy_process_group()


def wait(children):
    return [os.waitpid(child, 0)[1] for child in children]


def main(folder):
    """Run trainings in processes of their own and check how they end.

    They are forked, since importing MMPose takes long.
    """
    torch.set_num_threads(1)
    mmengine.runner.runner.collect_env = dict

    def fork(function, *args):
        child = os.fork()
        if child:
            return child
        try:
            function(Path(folder), *args)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    assert wait([fork(kill, name) for name in KILLED]) == 3 * [signal.SIGKILL]
    assert wait([fork(distribute, rank) for rank in (0, 1)]) == [0, 0]


if __name__ == '__main__':
    main(sys.argv[1])


@pytest.mark.parametrize('by_epoch', [True, False])
def test_epochs_may_change_their_length(by_epoch):
    """As by a resume on another number of GPUs."""
    hook = NonLocalRampHook(begin=1, end=3, by_epoch=by_epoch)
    hook.layers = [NonLocal(8)]
    runner = SimpleNamespace(
        epoch=2,
        iter=1,
        train_dataloader=range(5),
        message_hub=MessageHub.get_instance('ramp'))
    hook.before_train_iter(runner, batch_idx=3)
    expected = 0.2 * 9 / 10 if by_epoch else 0.2 / 2
    assert hook.layers[0].gamma.item() == pytest.approx(expected)
