"""LAPX through mim, with its gamma ramp."""
import json

import numpy as np
import pytest
import torch
from mmpose.apis import inference_topdown, init_model

from .conftest import SHORT
from .test_mim import config_path

CONFIG = 'td-hm_lapx_8xb64-210e_coco-256x192'
# A narrow network; the ramp takes the second of three epochs.
OPTIONS = [
    *SHORT, 'model.backbone.channels=32', 'train_cfg.max_epochs=3',
    'train_cfg.val_interval=3', 'custom_hooks.1.begin=1',
    'custom_hooks.1.end=2'
]
STEPS = 4  # of an epoch


def gammas(work_dir):
    """Gamma by step, from the log in ``work_dir``."""
    logged = {}
    path, = work_dir.rglob('scalars.json')
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if 'gamma_1' in record:
            assert record['gamma_1'] == record['gamma_2']
            logged[record['step']] = record['gamma_1']
    return logged


@pytest.fixture(scope='module')
def lapx(mim, workspace):
    """The work dir of a training."""
    work_dir = workspace / 'work_dirs/lapx'
    output = mim('train', 'lgm_pose_plugin', f'{CONFIG}.py', '--work-dir',
                 work_dir, '--cfg-options', *OPTIONS)
    assert 'coco/AP' in output
    return work_dir


@pytest.mark.promise('gamma-ramp')
def test_gamma_is_raised(lapx):
    logged = gammas(lapx)
    assert list(logged) == list(range(1, 3 * STEPS + 1))
    ramp = [0.2 * n / STEPS for n in range(1, STEPS + 1)]
    expected = [0.] * STEPS + ramp + [0.2] * STEPS
    assert np.allclose(list(logged.values()), expected, atol=1e-6)
    saved = torch.load(lapx / 'epoch_3.pth')['state_dict']
    saved = [value for key, value in saved.items() if key.endswith('.gamma')]
    assert len(saved) == 2 and np.allclose(saved, 0.2)


@pytest.mark.promise('mim')
def test_tests_and_predicts(mim, workspace, lapx):
    checkpoint = lapx / 'epoch_3.pth'
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


@pytest.mark.promise('test-dev')
def test_submission(mim, lapx, check_submission):
    mim('test', 'lgm_pose_plugin', f'{CONFIG}-test-dev.py', '-C',
        lapx / 'epoch_3.pth', '--cfg-options', *OPTIONS)
    check_submission('lapx-256x192')
