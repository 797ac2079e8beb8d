"""Fixtures of the end-to-end tests: a data folder and mim."""
import importlib.metadata
import json
import os
import os.path as osp
import subprocess
import sys

import pytest

from lgm_pose_plugin.rendered_people import write_dataset

BOXES = 'person_detection_results/{}_detections_AP_H_{}_person.json'


def _is_editable() -> bool:
    origin = importlib.metadata.distribution('lgm_pose_plugin').read_text(
        'direct_url.json')
    return bool(origin) and json.loads(origin).get('dir_info', {}).get(
        'editable', False)


@pytest.fixture(scope='session')
def workspace(tmp_path_factory):
    """A folder with rendered people in data/coco, laid out as COCO's."""
    root = tmp_path_factory.mktemp('workspace')
    coco = root / 'data' / 'coco'
    write_dataset(str(coco), 8, seed=0, split='train2017')
    write_dataset(str(coco), 4, seed=0, split='val2017')
    annotations = json.loads(
        (coco / 'annotations/person_keypoints_val2017.json').read_text())
    boxes = [
        dict(
            image_id=annotation['image_id'],
            category_id=1,
            bbox=annotation['bbox'],
            score=0.9) for annotation in annotations['annotations']
    ]
    (coco / 'person_detection_results').mkdir()
    (coco / BOXES.format('COCO_val2017', 56)).write_text(json.dumps(boxes))

    # test-dev has the same pictures here, and no annotations.
    del annotations['annotations']
    (coco / 'annotations/image_info_test-dev2017.json').write_text(
        json.dumps(annotations))
    (coco / 'test2017').symlink_to(coco / 'val2017')
    (coco / BOXES.format('COCO_test-dev2017', 609)).write_text(
        json.dumps(boxes))
    return root


@pytest.fixture(scope='session')
def mim(workspace):
    """Run mim in the workspace, or fail to; returns what it printed."""
    try:
        if _is_editable():
            pytest.skip('mim does not find the configs of an editable install')
    except importlib.metadata.PackageNotFoundError:
        pytest.skip('lgm_pose_plugin is not installed')
    command = osp.join(osp.dirname(sys.executable), 'mim')

    def run(*args, check=True):
        result = subprocess.run([command, *map(str, args)],
                                cwd=workspace,
                                env=dict(os.environ, OMP_NUM_THREADS='1'),
                                stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT,
                                text=True,
                                timeout=400)
        assert (result.returncode == 0) is check, result.stdout[-5000:]
        return result.stdout

    return run


# A short run without worker processes.
SHORT = [
    'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
    'default_hooks.checkpoint.interval=1', 'default_hooks.logger.interval=1'
] + [
    f'{split}_dataloader.{option}' for split in ('train', 'val', 'test')
    for option in ('batch_size=4', 'num_workers=0', 'persistent_workers=False')
]


@pytest.fixture(scope='session')
def trained(mim, workspace):
    """A checkpoint of one epoch, trained and validated through mim."""
    output = mim('train', 'lgm_pose_plugin',
                 'td-hm_lgm-pose_1xb32-260e_coco-256x192.py', '--work-dir',
                 'work_dirs/coco', '--cfg-options', *SHORT)
    assert 'Epoch(train) [1]' in output.replace('  ', ' ')
    assert 'coco/AP' in output
    return workspace / 'work_dirs/coco/epoch_1.pth'


@pytest.fixture(scope='session')
def tested(mim, workspace, trained):
    """Metrics and predictions of the checkpoint on the detected boxes."""
    mim('test', 'lgm_pose_plugin',
        'td-hm_lgm-pose_1xb32-260e_coco-256x192.py', '-C', trained, '--out',
        'detected.json', '--work-dir', 'work_dirs/test', '--cfg-options',
        'test_evaluator.outfile_prefix=detected')
    return [
        json.loads((workspace / name).read_text())
        for name in ('detected.json', 'detected.keypoints.json')
    ]
