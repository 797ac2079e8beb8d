"""Two processes without a GPU."""
import json
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

pytestmark = pytest.mark.e2e

CONFIG = 'td-hm_lgm-pose_1xb32-260e_coco-256x192'
TWO = ('--launcher', 'pytorch', '--gpus', '2', '--cfg-options',
       'env_cfg.dist_cfg.backend=gloo',
       'model_wrapper_cfg.type=MMDistributedDataParallel',
       'model_wrapper_cfg.device_ids=None',
       'model_wrapper_cfg.broadcast_buffers=False')
STEPS = 3  # of an epoch

LOSSES_THEN_DEATH = f'''
import os
import signal

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmpose.registry import HOOKS


@HOOKS.register_module()
class LossesThenDeath(Hook):
    """Write each process's losses; in the third epoch the second dies."""

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        path = os.path.join(runner.work_dir, f'losses-{{get_rank()}}.txt')
        with open(path, 'a') as file:
            print(outputs['loss'].item(), file=file)
        if get_rank() == 1 and runner.iter == {2 * STEPS}:
            os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture(scope='module')
def config(load_config, workspace):
    """A config of three epochs, without what depends on the process.

    That is BatchNorm, whose statistics are those of a process's own batch,
    and augmentation.
    """
    cfg = load_config(CONFIG)
    for part in (cfg.model.backbone, cfg.model.neck):
        part.norm_cfg = dict(type='GN', num_groups=8)
    dataset = cfg.train_dataloader.dataset
    dataset.indices = 4 * STEPS
    dataset.pipeline = [
        step for step in dataset.pipeline if not step.type.startswith('Random')
    ]
    cfg.train_dataloader.update(batch_size=4, num_workers=0)
    cfg.train_cfg.max_epochs = 3
    cfg.default_hooks.checkpoint.interval = 1
    cfg.randomness = dict(seed=1)
    cfg.custom_imports.imports.append('losses_then_death')
    cfg.custom_hooks.append(dict(type='LossesThenDeath'))
    (workspace / 'losses_then_death.py').write_text(LOSSES_THEN_DEATH)
    cfg.dump(workspace / 'processes.py')
    return workspace / 'processes.py'


@pytest.fixture(scope='module')
def died(mim, workspace, config):
    """The work dir of a training that lost a process, output and delay."""
    work_dir = workspace / 'work_dirs/processes'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(workspace))
        output = mim(
            'train',
            'mmpose',
            config,
            '--work-dir',
            work_dir,
            *TWO,
            'train_dataloader.batch_size=2',
            check=False)
    death = (work_dir / 'losses-1.txt').stat().st_mtime
    return work_dir, output, time.time() - death


@pytest.mark.e2e
@pytest.mark.promise('lost-process')
def test_process_that_dies_ends_the_job(died):
    work_dir, output, seconds = died
    assert 'Signal 9 (SIGKILL)' in output
    assert 'Training finished successfully' not in output
    assert seconds < 120
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_2.pth')


@pytest.mark.e2e
@pytest.mark.promise('two-processes')
def test_two_processes_train_as_one_with_the_batch_doubled(
        died, config, workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    monkeypatch.syspath_prepend(str(workspace))
    cfg = Config.fromfile(str(config))
    cfg.update(work_dir='work_dirs/one_process', log_level='WARNING')
    cfg.train_cfg.max_epochs = 2
    for part in ('dataloader', 'evaluator', 'cfg'):
        cfg.pop(f'val_{part}')
        cfg.pop(f'test_{part}')
    Runner.from_cfg(cfg).train()

    one, = losses(workspace / 'work_dirs/one_process')
    two = losses(died[0])
    assert len(one) == 2 * STEPS and len(two) == 2
    assert not np.allclose(two[0][:2 * STEPS], two[1][:2 * STEPS], rtol=1e-2)
    assert np.allclose(one, np.mean(two, 0)[:2 * STEPS], rtol=1e-4)
    assert one[STEPS:].mean() < 0.97 * one[:STEPS].mean()


def losses(work_dir):
    """The losses of each process in ``work_dir``."""
    numbers = [
        np.loadtxt(path) for path in sorted(work_dir.glob('losses-*.txt'))
    ]
    return [one[:min(map(len, numbers))] for one in numbers]


@pytest.mark.promise('two-processes')
def test_two_processes_test_as_one(make_runner, workspace, in_two_processes,
                                   monkeypatch):
    monkeypatch.chdir(workspace)
    monkeypatch.setenv('LOCAL_RANK', '0')  # a GPU's number, read and not used

    def evaluate(rank, number):
        options = {} if number == 1 else dict(
            launcher='pytorch',
            model_wrapper_cfg=dict(
                type='MMDistributedDataParallel', device_ids=None))
        return make_runner(
            CONFIG,
            work_dir=f'work_dirs/test-{number}',
            randomness=dict(seed=1),
            test_evaluator__outfile_prefix=f'test-{number}',
            **options).test()

    one = evaluate(0, 1)
    assert in_two_processes(evaluate, 2) == [one, one]
    predictions = [
        json.loads(Path(f'test-{number}.keypoints.json').read_text())
        for number in (1, 2)
    ]
    assert predictions[0] == predictions[1]
    assert len({person['image_id'] for person in predictions[0]}) > 2
