"""Trainings killed at the worst moments, resumed and compared bit for bit."""
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dist import barrier, init_dist
from mmengine.hooks import Hook
from mmengine.runner import Runner, runner
from mmpose.utils import register_all_modules

import lgm_pose_plugin

PACKAGE = Path(lgm_pose_plugin.__file__).resolve().parents[1]
CONFIGS = PACKAGE / 'lgm_pose_plugin/.mim/configs'
COCO = 'body_2d_keypoint/topdown_heatmap/coco'
SIZE = dict(input_size=(64, 64), heatmap_size=(16, 16))
CONFIG = {
    'lgm-pose': ('td-hm_lgm-pose_1xb32-260e', {
        'model.backbone.input_size': (64, 64),
    }),
    # a ramp that begins with the second epoch
    'lapx': ('td-hm_lapx_8xb64-210e', {
        'model.backbone.channels': 32,
        'model.backbone.depth': 1,
        'custom_hooks.1.begin': 1,
        'custom_hooks.1.end': 3,
        'default_hooks.logger.interval': 1,
    }),
}
# Two epochs of 4 steps and a validation. How files are written does not
# depend on the network.
FAULTS = {
    'lgm-pose': ('epoch', ),
    'lapx': ('epoch', 'write', 'rewrite', 'validation'),
}
LIMIT = 200000  # bytes of a file that is killed while being written


class Fault(Hook):
    """Kill the process: in an epoch, in a write, in a validation."""

    def __init__(self, fault):
        self.fault = fault
        self.saved = 0

    def after_train_iter(self, runner, *args, **kwargs):
        if self.fault == 'epoch' and runner.iter == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_val_iter(self, runner, *args, **kwargs):
        if self.fault == 'validation' and runner.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def before_save_checkpoint(self, runner, checkpoint):
        """Epoch 1 is saved, its weights as the best, and it once more."""
        self.saved += 1
        if (self.fault, self.saved) in (('rewrite', 3), ('write', 4)):
            # The kernel kills in the middle of write(2).
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def train(network, work_dir, fault=None, **options):
    """Train in this process, in a folder with data/coco."""
    name, small = CONFIG[network]
    cfg = Config.fromfile(str(CONFIGS / COCO / f'{name}_coco-256x192.py'))
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.batch_size = 4
        for step in loader.dataset.pipeline:
            if step.type == 'TopdownAffine':
                step.input_size = SIZE['input_size']
            elif step.type == 'GenerateTarget':
                step.encoder.update(SIZE)
    cfg.model.head.decoder.update(SIZE)
    cfg.train_dataloader.num_workers = 1
    cfg.val_dataloader.num_workers = 0
    cfg.val_dataloader.persistent_workers = False
    cfg.val_dataloader.dataset.bbox_file = None
    cfg.val_evaluator = dict(type='EPE')
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.default_hooks.checkpoint.update(
        interval=1, max_keep_ckpts=1, save_best='EPE', rule='less')
    for split in ('dataloader', 'evaluator', 'cfg'):
        cfg.pop(f'test_{split}')
    cfg.update(work_dir=str(work_dir), log_level='WARNING', **options)
    cfg.merge_from_dict(small)
    training = Runner.from_cfg(cfg)
    training.register_hook(Fault(fault), priority='LOWEST')
    training.train()


def join(rank, port):
    """Join two processes, of which one then hangs."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port))
    init_dist('pytorch', backend='gloo', timeout=5)
    barrier()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    start = time.monotonic()
    try:
        barrier()
    except RuntimeError as error:
        Path('hung.json').write_text(
            json.dumps([time.monotonic() - start,
                        str(error)]))


def main():
    """Train in processes of their own and check how they end.

    They are forked, since importing MMPose takes long; so does printing the
    config, which every checkpoint has.
    """
    torch.set_num_threads(1)
    register_all_modules()
    lgm_pose_plugin.register_all_modules()
    runner.collect_env = dict
    Config.pretty_text = ''

    def fork(function, *args, **kwargs):
        child = os.fork()
        if not child:
            try:
                function(*args, **kwargs)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        return child

    def run(*args, **kwargs):
        return os.waitpid(fork(train, *args, **kwargs), 0)[1]

    seed = dict(randomness=dict(seed=5))
    for network in CONFIG:
        assert run(network, f'{network}-whole', **seed) == 0
        for fault in FAULTS[network]:
            folder = f'{network}-{fault}'
            status = run(network, folder, fault, **seed)
            writes = fault in ('write', 'rewrite')
            assert status == (signal.SIGXFSZ if writes else signal.SIGKILL)
            half_written = [
                path for path in Path(folder).rglob('.partial-*')
                if path.stat().st_size == LIMIT
            ]
            assert len(half_written) == writes
            assert run(network, folder, resume=True) == 0

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    ranks = [fork(join, rank, port) for rank in (0, 1)]
    assert os.waitpid(ranks[0], 0)[1] == 0
    os.kill(ranks[1], signal.SIGKILL)
    os.waitpid(ranks[1], 0)


if __name__ == '__main__':
    main()


@pytest.fixture(scope='module')
def trainings(tmp_path_factory, workspace):
    """The folder in which ``main`` has run."""
    folder = tmp_path_factory.mktemp('killed')
    (folder / 'data').symlink_to(workspace / 'data')
    result = subprocess.run([sys.executable, __file__],
                            cwd=folder,
                            env=dict(
                                os.environ,
                                OMP_NUM_THREADS='1',
                                PYTHONPATH=str(PACKAGE)),
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            text=True)
    assert result.returncode == 0, result.stdout[-5000:]
    return folder


def errors(work_dir):
    """The metric by epoch, from the logs of all runs in ``work_dir``."""
    logged = {}
    for path in sorted(work_dir.rglob('scalars.json')):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if 'EPE' in record:
                assert logged.setdefault(record['step'],
                                         record['EPE']) == record['EPE']
    return logged


def assert_same(one, other, path=''):
    """Compare nested containers, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert list(one) == list(other), path
        for key in one:
            assert_same(one[key], other[key], f'{path}.{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for i, pair in enumerate(zip(one, other)):
            assert_same(*pair, f'{path}.{i}')
    else:
        assert one == other, path


pytestmark = pytest.mark.e2e


@pytest.mark.promise('resume')
@pytest.mark.parametrize('network, fault', [(network, fault)
                                            for network in FAULTS
                                            for fault in FAULTS[network]])
def test_killed_training_becomes_what_it_would_have(trainings, network, fault):
    whole = trainings / f'{network}-whole'
    resumed = trainings / f'{network}-{fault}'
    files = [
        sorted(path.name for path in folder.glob('[!.]*.pth'))
        for folder in (whole, resumed)
    ]
    assert 'epoch_2.pth' in files[0] and len(files[0]) == 2
    assert files[0] == files[1]
    for name in files[0]:
        first, second = (
            torch.load(folder / name) for folder in (whole, resumed))
        for key in ('state_dict', 'optimizer', 'param_schedulers'):
            assert (key in first) is (key == 'state_dict'
                                      or name == 'epoch_2.pth')
            assert_same(first.get(key), second.get(key), key)
    first, last = errors(whole)
    assert errors(whole)[first] != errors(whole)[last]
    assert errors(resumed) == errors(whole)


@pytest.mark.promise('gamma-ramp')
@pytest.mark.parametrize('name', ['lapx-whole', 'lapx-epoch'])
def test_gamma_is_raised(trainings, name):
    """The second epoch of 4 steps is the first half of the ramp."""
    logged = {}
    for path in (trainings / name).rglob('scalars.json'):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if 'gamma_1' in record:
                assert record['gamma_1'] == record['gamma_2']
                logged[record['step']] = record['gamma_1']
    wanted = [0.] * 4 + [0.1 * n / 4 for n in range(1, 5)]
    assert np.allclose([logged[step] for step in range(1, 9)], wanted)
    saved = torch.load(trainings / name / 'epoch_2.pth')['state_dict']
    saved = [value for key, value in saved.items() if key.endswith('.gamma')]
    assert len(saved) == 2 and np.allclose(saved, 0.1)


@pytest.mark.promise('lost-process')
def test_process_that_hangs_ends_the_others_wait(trainings):
    seconds, error = json.loads((trainings / 'hung.json').read_text())
    assert 4 < seconds < 60
    assert 'Timed out' in error
