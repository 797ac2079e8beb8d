"""Leeds Sports Pose, from the archive to a trained network."""
import math

import numpy as np
import pytest
from mmengine.runner import Runner
from mmpose.registry import DATASETS
from scipy.io import loadmat, savemat

from lgm_pose_plugin.cli import main
from .conftest import SHORT

CONFIG = 'td-hm_lgm-pose_1xb16-60e_lsp-128x96'


@pytest.mark.promise('lsp-training')
def test_train(mim, workspace, rendered_lsp):
    source = rendered_lsp(workspace / 'lsp_archive', 8)
    out = workspace / 'data' / 'lsp'
    assert main(['convert-lsp', str(source), str(out), '--val-from', '5']) == 0
    output = mim('train', 'lgm_pose_plugin', f'{CONFIG}.py', '--work-dir',
                 'work_dirs/lsp', '--cfg-options', 'param_scheduler.1.begin=0',
                 *SHORT)
    for metric in ('lsp/PCK: ', 'lsp/head PCK: ', 'coco/AP: '):
        assert metric in output
    best, = (workspace / 'work_dirs/lsp').glob('best_*')
    assert best.name == 'best_lsp_PCK_epoch_1.pth'


def test_real_people(lspet_root, load_config, tmp_path):
    """Train and validate in this process, on a few real images."""
    source = tmp_path / 'source'
    (source / 'images').mkdir(parents=True)
    joints = loadmat(str(lspet_root / 'joints.mat'))['joints'][..., :24]
    savemat(str(source / 'joints.mat'), dict(joints=joints))
    for index in range(24):
        name = f'im{index + 1:05d}.jpg'
        (source / 'images' / name).symlink_to(lspet_root / 'images' / name)
    root = tmp_path / 'lsp'
    assert main(['convert-lsp',
                 str(source),
                 str(root), '--val-from', '17']) == 0

    cfg = load_config(CONFIG)
    cfg.merge_from_dict({
        f'{split}_dataloader.dataset.data_root': str(root)
        for split in ('train', 'val', 'test')
    })
    cfg.val_evaluator[1].ann_file = str(root / 'annotations/lspet_val.json')
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'].update(
            batch_size=8, num_workers=0, persistent_workers=False)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler = None
    cfg.update(work_dir=str(tmp_path / 'work_dir'), log_level='WARNING')
    for name in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        cfg.pop(name)
    runner = Runner.from_cfg(cfg)
    before = runner.model.head.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    runner.train()
    assert runner.iter == 2
    assert any((value != before[key]).any()
               for key, value in runner.model.head.state_dict().items())
    metrics = runner.val_loop.run()
    assert 0 <= metrics['lsp/PCK'] <= 1 and 0 <= metrics['coco/AP'] <= 1
    assert all(math.isfinite(metrics[key]) for key in ('lsp/PCK', 'coco/AP'))
    # Augmentation may move a joint to the border of the crop.
    people = cfg.train_dataloader.dataset
    people.pipeline = [
        step for step in people.pipeline
        if not step['type'].startswith('Random')
    ]
    item = DATASETS.build(people)[0]
    heatmaps = item['data_samples'].gt_fields.heatmaps
    assert heatmaps.shape == (14, 32, 24)
    weights = item['data_samples'].gt_instance_labels.keypoint_weights
    peaks = heatmaps.flatten(1).max(1).values
    assert (peaks[np.asarray(weights[0]) > 0] > .5).all()
