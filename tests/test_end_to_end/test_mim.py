"""Train, test, search and download through mim, from the installed package."""
import importlib.metadata
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from .conftest import SHORT

CONFIG = 'td-hm_lgm-pose_1xb32-260e_coco-256x192'
LARGER = ('body_2d_keypoint/topdown_heatmap/coco/'
          'td-hm_lgm-pose_1xb32-260e_coco-384x288.py')
COCO_METRICS = {
    'coco/AP', 'coco/AP .5', 'coco/AP .75', 'coco/AP (M)', 'coco/AP (L)',
    'coco/AR', 'coco/AR .5', 'coco/AR .75', 'coco/AR (M)', 'coco/AR (L)'
}


def config_path(name):
    """Path of an installed config or tool."""
    root = importlib.metadata.distribution('lgm_pose_plugin').locate_file(
        'lgm_pose_plugin')
    return next(Path(root).rglob(f'{name}.py'))


@pytest.mark.promise('mim', 'detected-boxes')
def test_detected_boxes_are_the_default(mim, workspace, trained, tested):
    metrics, _ = tested
    assert metrics.keys() == COCO_METRICS
    boxes = workspace / 'data/coco/person_detection_results'
    moved = boxes.rename(boxes.with_name('elsewhere'))
    try:
        output = mim(
            'test',
            'lgm_pose_plugin',
            f'{CONFIG}.py',
            '-C',
            trained,
            check=False)
        assert ('COCO_val2017_detections_AP_H_56_person.json` does not exist'
                in output or 'Bbox file does not exist' in output)  # < 1.3
        # One option switches to ground-truth boxes; mmpose's name works too.
        mim('test', 'mmpose', config_path(CONFIG), '-C', trained, '--out',
            'truth.json', '--work-dir', 'work_dirs/test', '--cfg-options',
            'test_dataloader.dataset.bbox_file=None')
    finally:
        moved.rename(boxes)
    metrics = json.loads((workspace / 'truth.json').read_text())
    assert metrics.keys() == COCO_METRICS


@pytest.mark.promise('mim')
def test_resume_continues_where_it_stopped(mim, workspace, trained):
    work_dir = workspace / 'work_dirs/resumed'
    work_dir.mkdir(parents=True)
    shutil.copy(trained, work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / trained.name))
    output = mim('train', 'mmpose', config_path(CONFIG), '--work-dir',
                 work_dir, '--resume', '--cfg-options', *SHORT,
                 'train_cfg.max_epochs=2')
    assert 'resumed epoch: 1' in output
    # Safe on this machine: these files were written by this test.
    first, second = (
        torch.load(path, weights_only=False)
        for path in (trained, work_dir / 'epoch_2.pth'))
    assert second['meta']['iter'] == 2 * first['meta']['iter']
    step = second['optimizer']['state'][0]['step']
    assert step == 2 * first['optimizer']['state'][0]['step']


@pytest.mark.parametrize('args, refused', [
    ((
        '--resume',
        '--cfg-options',
        'a=1',
        'load_from=w/1.pth',
    ), True),
    (('--cfg-options', 'load_from=w/1.pth', '--resume'), True),
    (('--cfg-options', 'load_from=w/1.pth'), False),
    (('--resume', 'w/1.pth', '--cfg-options', 'load_from=w/1.pth'), False),
    (('--resume', '--cfg-options', 'a=1'), False),
])
def test_resume_of_another_training_is_refused(monkeypatch, args, refused):
    script = runpy.run_path(str(config_path('train')))
    monkeypatch.setattr(sys, 'argv', ['train.py', 'config.py', *args])
    if not refused:
        script['check_resume']()
        return
    with pytest.raises(SystemExit, match='would continue w/1.pth .*leave'):
        script['check_resume']()


@pytest.mark.promise('other-input-sizes', 'own-configs')
def test_fine_tune_at_a_larger_size(mim, workspace, trained):
    # A user's config, whose custom_imports replace the plugin's.
    config = workspace / 'larger.py'
    config.write_text(f"_base_ = 'lgm_pose_plugin::{LARGER}'\n"
                      "custom_imports = dict(imports=['json'])\n")
    output = mim('train', 'lgm_pose_plugin', config, '--work-dir',
                 'work_dirs/larger', '--cfg-options', *SHORT,
                 f'load_from={trained}')
    for grids in ('[8, 6] to [12, 9]', '[4, 3] to [6, 5]'):
        assert f'resized from {grids} patches' in output
    assert (workspace / 'work_dirs/larger/epoch_1.pth').exists()


@pytest.mark.promise('test-dev')
def test_submission_for_test_dev(mim, trained, check_submission):
    mim('test', 'lgm_pose_plugin', f'{CONFIG}-test-dev.py', '-C', trained)
    check_submission('lgm-pose-256x192')


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return exec, (f'open({self.mark!r}, "w").close()', )


def fewer_keypoints(trained, mark):
    weights = torch.load(trained, weights_only=False)['state_dict']
    return dict(
        state_dict={
            name: value[:14] if name.startswith('head') else value
            for name, value in weights.items()
        })


FOREIGN = {
    'other key points':
    (fewer_keypoints, 'The checkpoint is not of the network in the config: .*'
     'size mismatch for head'),
    'payload': (lambda trained, mark: dict(
        torch.load(trained, weights_only=False), payload=Payload(mark)),
                'Weights only load failed'),
}


@pytest.mark.promise('mmengine-paths')
@pytest.mark.parametrize('name', FOREIGN)
def test_foreign_checkpoint_is_refused(mim, workspace, trained, tmp_path,
                                       name):
    if name == 'payload' and not hasattr(torch.serialization, 'safe_globals'):
        pytest.skip('MMEngine runs pickles on torch < 2.6')
    make, message = FOREIGN[name]
    torch.save(make(trained, tmp_path / 'executed'), tmp_path / 'foreign.pth')
    output = mim(
        'test',
        'lgm_pose_plugin',
        f'{CONFIG}.py',
        '-C',
        tmp_path / 'foreign.pth',
        check=False)
    assert re.search(message, output, re.DOTALL)
    assert 'Epoch(test)' not in output
    assert not (tmp_path / 'executed').exists()


@pytest.fixture(scope='module')
def mpii(workspace, mpii_root):
    """MPII's five images in data/mpii, for training and for validation."""
    annotations = workspace / 'data/mpii/annotations'
    annotations.mkdir(parents=True)
    (workspace / 'data/mpii/images').symlink_to(mpii_root / 'images')
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


@pytest.mark.promise('mim')
@pytest.mark.parametrize('config, options', [
    ('td-hm_lgm-pose_1xb32-260e_mpii-256x256', []),
    ('td-hm_lapx_8xb64-210e_mpii-256x256', ['model.backbone.channels=32']),
])
def test_mpii(mim, workspace, mpii, config, options):
    """Train and test with PCKh."""
    output = mim('train', 'lgm_pose_plugin', f'{config}.py', '--work-dir',
                 f'work_dirs/{config}', '--cfg-options', *SHORT, *options)
    assert 'PCK@0.1' in output
    mim('test', 'lgm_pose_plugin', f'{config}.py', '-C',
        f'work_dirs/{config}/epoch_1.pth', '--out', f'{config}.json',
        '--cfg-options', *SHORT, *options)
    metrics = json.loads((workspace / f'{config}.json').read_text())
    assert metrics.keys() >= {'Head PCK', 'Wrist PCK', 'PCK', 'PCK@0.1'}


@pytest.mark.promise('index')
def test_search(mim):
    output = mim('search', 'lgm_pose_plugin')
    for name in (CONFIG, 'td-hm_lgm-pose_1xb32-260e_mpii-256x256'):
        assert f'config id: {name}' in output


@pytest.fixture
def site_with_weights(tmp_path, trained):
    """The installed plugin with weights in its index, and their server."""
    distribution = importlib.metadata.distribution('lgm_pose_plugin')
    site = tmp_path / 'site'
    for name in ('lgm_pose_plugin', distribution._path.name):
        shutil.copytree(distribution.locate_file(name), site / name)
    folder = tmp_path / 'server'
    folder.mkdir()
    shutil.copy(trained, folder / 'lgm-pose.pth')
    server = ThreadingHTTPServer(
        ('127.0.0.1', 0),
        partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    index = next(site.rglob('lgm-pose_coco.yml'))
    index.write_text(index.read_text().replace(
        f'  Name: {CONFIG}\n', f'  Name: {CONFIG}\n  Alias: lgm-pose-test\n'
        f'  Weights: http://127.0.0.1:{server.server_port}/lgm-pose.pth\n'))
    yield site
    server.shutdown()


@pytest.mark.promise('index')
def test_download_and_model_name_once_there_are_weights(
        mim, site_with_weights, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(site_with_weights))
    mim('download', 'lgm_pose_plugin', '--config', CONFIG, '--dest',
        tmp_path / 'zoo')
    assert sorted(path.name for path in (tmp_path / 'zoo').iterdir()) == [
        'lgm-pose.pth', f'{CONFIG}.py'
    ]
    # The same entry serves MMPoseInferencer's look-up by name and alias.
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    script = ('import lgm_pose_plugin\n'
              'from mmpose.apis import MMPoseInferencer\n'
              "inferencer = MMPoseInferencer('lgm-pose-test', "
              "det_model='whole_image', device='cpu')\n"
              'print(type(inferencer.inferencer.model.backbone).__name__)')
    output = subprocess.run([sys.executable, '-c', script],
                            cwd=tmp_path,
                            check=True,
                            stdout=subprocess.PIPE,
                            text=True).stdout
    assert 'MobileViM' in output
    assert (tmp_path / 'torch/hub/checkpoints/lgm-pose.pth').exists()
