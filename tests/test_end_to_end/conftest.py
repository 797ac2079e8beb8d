"""Fixtures of the end-to-end tests: a data folder and mim."""
import importlib.metadata
import json
import os
import os.path as osp
import subprocess
import sys
from pathlib import Path

import pytest
from xtcocotools.coco import COCO

from lgm_pose_plugin.datasets.rendered.writer import write_dataset

SHARED_COCO = Path(__file__).resolve().parents[3] / 'shared/data/coco'
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

    _write_test_dev(coco)
    return root


def _write_test_dev(coco):
    """Pictures of COCO, or rendered ones, as test-dev without labels."""
    source = SHARED_COCO if SHARED_COCO.is_dir() else coco
    info = json.loads(
        (source / 'annotations/person_keypoints_val2017.json').read_text())
    info['images'] = info['images'][:4]
    images = {image['id'] for image in info['images']}
    boxes = [
        dict(
            image_id=annotation['image_id'],
            category_id=1,
            bbox=annotation['bbox'],
            score=0.9) for annotation in info.pop('annotations')
        if annotation['image_id'] in images
    ]
    # COCO's own file lists all its categories.
    info['categories'] = [
        dict(supercategory='person', id=1, name='person'),
        dict(supercategory='vehicle', id=2, name='bicycle')
    ]
    (coco / 'annotations/image_info_test-dev2017.json').write_text(
        json.dumps(info))
    (coco / 'test2017').symlink_to(source / 'val2017')
    (coco / BOXES.format('COCO_test-dev2017', 609)).write_text(
        json.dumps(boxes))


@pytest.fixture(scope='session')
def check_submission(workspace):
    """Check a result file as COCO's evaluation server does."""
    folder = workspace / 'data/coco'
    image_info = folder / 'annotations/image_info_test-dev2017.json'
    boxes = json.loads(
        (folder / BOXES.format('COCO_test-dev2017', 609)).read_text())

    def check(algorithm):
        results_dir = workspace / 'work_dirs'
        path = results_dir / ('person_keypoints_test-dev2017_'
                              f'{algorithm}_results.json')
        assert not list(results_dir.glob('*.keypoints.json'))
        results = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert {one['image_id']
                for one in results} == {one['image_id']
                                        for one in boxes}
        for one in results:
            assert list(one) == [
                'image_id', 'category_id', 'keypoints', 'score'
            ]
            assert type(one['image_id']) is int and one['category_id'] == 1
            assert len(one['keypoints']) == 3 * 17
            assert {type(x) for x in one['keypoints']} <= {int, float}
            assert type(one['score']) is float
        # What the server calls: refuses images that are not in the subset.
        loaded = COCO(str(image_info)).loadRes(str(path))
        assert len(loaded.anns) == len(results) > 0
        return results

    return check


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
    mim('test', 'lgm_pose_plugin', 'td-hm_lgm-pose_1xb32-260e_coco-256x192.py',
        '-C', trained, '--out', 'detected.json', '--work-dir',
        'work_dirs/test', '--cfg-options',
        'test_evaluator.outfile_prefix=detected')
    return [
        json.loads((workspace / name).read_text())
        for name in ('detected.json', 'detected.keypoints.json')
    ]
