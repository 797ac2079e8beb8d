"""Short runs of configs on each data set, in this process."""
import json
import math
from pathlib import Path

import numpy as np
import pytest
from mmpose.registry import DATASETS
from scipy.io import loadmat, savemat
from xtcocotools.coco import COCO

from lgm_pose_plugin.cli import main
from .conftest import write_boxes

pytestmark = pytest.mark.e2e

COCO_CONFIG = 'td-hm_lgm-pose_1xb32-260e_coco-256x192'
MPII_CONFIG = 'td-hm_lgm-pose_1xb32-260e_mpii-256x256'
LSP_CONFIG = 'td-hm_lgm-pose_1xb16-60e_lsp-128x96'


@pytest.mark.promise('detected-boxes')
@pytest.mark.parametrize('split', ['val', 'test'])
def test_detected_boxes_are_the_default(load_config, workspace, monkeypatch,
                                        split):
    monkeypatch.chdir(workspace)
    cfg = load_config(COCO_CONFIG)[f'{split}_dataloader'].dataset
    detected = DATASETS.build(cfg)
    cfg.bbox_file = None
    truth = DATASETS.build(cfg)
    assert 0 < len(detected) == len(truth) - 1


@pytest.mark.promise('test-dev')
def test_submission_for_test_dev(make_runner, workspace, tmp_path,
                                 monkeypatch):
    """COCO's evaluation takes the result file."""
    coco = tmp_path / 'data/coco'
    (coco / 'annotations').mkdir(parents=True)
    (coco / 'test2017').symlink_to(workspace / 'data/coco/val2017')
    info = json.loads(
        (workspace /
         'data/coco/annotations/person_keypoints_val2017.json').read_text())
    write_boxes(coco, 'COCO_test-dev2017_detections_AP_H_609',
                info.pop('annotations'))
    # COCO's own file lists all its categories.
    info['categories'].append(dict(id=2, name='bicycle'))
    image_info = coco / 'annotations/image_info_test-dev2017.json'
    image_info.write_text(json.dumps(info))

    monkeypatch.chdir(tmp_path)
    make_runner(f'{COCO_CONFIG}-test-dev', work_dir='work').test()
    path, = Path('work_dirs').glob('*.json')
    assert path.name == ('person_keypoints_test-dev2017_lgm-pose-256x192_'
                         'results.json')
    results = json.loads(path.read_text(), parse_constant=pytest.fail)
    # What the server calls: refuses images that are not in the subset.
    loaded = COCO(str(image_info)).loadRes(str(path))
    assert len(loaded.anns) == len(results) > 0
    assert {one['image_id']
            for one in results} == {image['id']
                                    for image in info['images']}


def test_mpii(make_runner, mpii_root, tmp_path, monkeypatch):
    """Train and validate with PCKh on MPII's five images."""
    annotations = tmp_path / 'data/mpii/annotations'
    annotations.mkdir(parents=True)
    (tmp_path / 'data/mpii/images').symlink_to(mpii_root / 'images')
    people = json.loads((mpii_root / 'annotations/test_mpii.json').read_text())
    for split in ('train', 'val'):
        (annotations / f'mpii_{split}.json').write_text(json.dumps(people))
    # PCKh's unit is 0.6 times the diagonal of the head box; boxes of which
    # that is the distance from the upper neck (8) to the top of the head (9).
    joints = np.array([person['joints'] for person in people])
    head = np.linalg.norm(joints[:, 9] - joints[:, 8], axis=1) / 0.6
    boxes = np.zeros((2, 2, len(people)))
    boxes[1, 0] = head
    savemat(annotations / 'mpii_gt_val.mat', dict(headboxes_src=boxes))

    monkeypatch.chdir(tmp_path)
    runner = make_runner(MPII_CONFIG, work_dir='work')
    runner.train()
    metrics = runner.val_loop.run()
    assert metrics.keys() >= {'Head PCK', 'Wrist PCK', 'PCK', 'PCK@0.1'}
    assert [path.name for path in Path('work').glob('best_*')
            ] == ['best_PCK_epoch_1.pth']


@pytest.fixture(params=['rendered', 'real'])
def lsp_archive(request, tmp_path):
    """LSPET's archive of some people and the number to train on."""
    folder = tmp_path / 'archive'
    if request.param == 'rendered':
        return request.getfixturevalue('rendered_lsp')(folder, 8), 4
    source = request.getfixturevalue('lspet_root')
    (folder / 'images').mkdir(parents=True)
    joints = loadmat(str(source / 'joints.mat'))['joints'][..., :24]
    savemat(str(folder / 'joints.mat'), dict(joints=joints))
    for index in range(24):
        name = f'im{index + 1:05d}.jpg'
        (folder / 'images' / name).symlink_to(source / 'images' / name)
    return folder, 16


@pytest.mark.promise('lsp-training')
def test_lsp(make_runner, lsp_archive, tmp_path, monkeypatch):
    """From the archive to a trained network."""
    monkeypatch.chdir(tmp_path)
    folder, number = lsp_archive
    assert main([
        'convert-lsp',
        str(folder), 'data/lsp', '--val-from',
        str(number + 1)
    ]) == 0
    runner = make_runner(
        LSP_CONFIG, work_dir='work', param_scheduler__1__begin=0)
    before = {
        key: value.clone()
        for key, value in runner.model.head.state_dict().items()
    }
    runner.train()
    assert runner.iter == number // 4
    assert any((value != before[key]).any()
               for key, value in runner.model.head.state_dict().items())
    metrics = runner.val_loop.run()
    assert all(
        math.isfinite(metrics[key])
        for key in ('lsp/PCK', 'lsp/head PCK', 'coco/AP'))
    assert [path.name for path in Path('work').glob('best_*')
            ] == ['best_lsp_PCK_epoch_1.pth']

    # Augmentation may move a joint to the border of the crop.
    people = runner.cfg.train_dataloader.dataset
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
