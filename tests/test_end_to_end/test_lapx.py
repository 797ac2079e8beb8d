"""LAPX through mim, with its gamma ramp killed and resumed."""
import json
import os
import os.path as osp
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mmpose.apis import inference_topdown, init_model
from .conftest import SHORT
from .test_mim import config_path

CONFIG = 'td-hm_lapx_8xb64-210e_coco-256x192'
# A narrow network; the ramp takes the second to the fourth of five epochs.
OPTIONS = [
    *SHORT, 'model.backbone.channels=32', 'train_cfg.max_epochs=5',
    'train_cfg.val_interval=5', 'custom_hooks.1.begin=1',
    'custom_hooks.1.end=4', 'randomness.seed=1'
]
STEPS = 4  # of an epoch


def train(work_dir, *options):
    """The command that trains in ``work_dir``."""
    return ('train', 'lgm_pose_plugin', f'{CONFIG}.py', '--work-dir',
            str(work_dir), *options, '--cfg-options', *OPTIONS)


def gammas(work_dir):
    """Gamma by step, from the logs of all runs in ``work_dir``."""
    logged = {}
    for path in sorted(work_dir.rglob('scalars.json')):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if 'gamma_1' in record:
                assert record['gamma_1'] == record['gamma_2']
                logged[record['step']] = record['gamma_1']
    return logged


@pytest.fixture(scope='module')
def lapx(mim, workspace):
    """The work dir of a training that was killed in the ramp and resumed."""
    work_dir = workspace / 'work_dirs/lapx'
    command = osp.join(osp.dirname(sys.executable), 'mim')
    process = subprocess.Popen([command, *train(work_dir)],
                               cwd=workspace,
                               env=dict(os.environ, OMP_NUM_THREADS='1'),
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while len(gammas(work_dir)) < 2 * STEPS + 1:  # in the third epoch
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert 2 * STEPS < len(gammas(work_dir)) < 4 * STEPS
    output = mim(*train(work_dir, '--resume'))
    assert 'resumed epoch' in output and 'coco/AP' in output
    return work_dir


def test_gamma_is_raised(lapx):
    logged = gammas(lapx)
    assert list(logged) == list(range(1, 5 * STEPS + 1))
    ramp = [0.2 * n / (3 * STEPS) for n in range(1, 3 * STEPS + 1)]
    expected = [0.] * STEPS + ramp + [0.2] * STEPS
    assert np.allclose(list(logged.values()), expected, atol=1e-6)
    saved = torch.load(lapx / 'epoch_5.pth')['state_dict']
    saved = [value for key, value in saved.items() if key.endswith('.gamma')]
    assert len(saved) == 2 and np.allclose(saved, 0.2)


def test_tests_and_predicts(mim, workspace, lapx):
    checkpoint = lapx / 'epoch_5.pth'
    mim('test', 'lgm_pose_plugin', f'{CONFIG}-no-flip.py', '-C', checkpoint,
        '--out', 'lapx.json', '--work-dir', 'work_dirs/lapx-test',
        '--cfg-options', *OPTIONS)
    metrics = json.loads((workspace / 'lapx.json').read_text())
    assert 0 <= metrics['coco/AP'] <= 1
    model = init_model(
        str(config_path(CONFIG)),
        str(checkpoint),
        'cpu',
        cfg_options={'model.backbone.channels': 32})
    picture = next((workspace / 'data/coco/val2017').iterdir())
    result, = inference_topdown(model, str(picture))
    assert result.pred_instances.keypoints.shape == (1, 17, 2)


def test_submission(mim, lapx, check_submission):
    mim('test', 'lgm_pose_plugin', f'{CONFIG}-test-dev.py', '-C',
        lapx / 'epoch_5.pth', '--cfg-options', *OPTIONS)
    check_submission('lapx-256x192')
