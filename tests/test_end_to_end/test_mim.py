"""Train, test, search and download through mim, from the installed package.

What does not depend on mim is tested in this process, which spares MMPose's
import: see ``test_data_sets.py``.
"""
import importlib.metadata
import json
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from .conftest import SHORT_ARGS

pytestmark = pytest.mark.e2e
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


@pytest.fixture(scope='module')
def trained(mim, workspace):
    """A checkpoint of one epoch, trained and validated."""
    output = mim('train', 'lgm_pose_plugin', f'{CONFIG}.py', '--work-dir',
                 'work_dirs/coco', '--cfg-options', *SHORT_ARGS)
    assert 'Epoch(train) [1]' in output.replace('  ', ' ')
    assert 'coco/AP' in output
    return workspace / 'work_dirs/coco/epoch_1.pth'


@pytest.mark.promise('mim')
def test_test(mim, workspace, trained):
    mim('test', 'lgm_pose_plugin', f'{CONFIG}.py', '-C', trained, '--out',
        'metrics.json', '--work-dir', 'work_dirs/test', '--cfg-options',
        *SHORT_ARGS)
    metrics = json.loads((workspace / 'metrics.json').read_text())
    assert metrics.keys() == COCO_METRICS


@pytest.mark.promise('mim')
def test_resume_continues_where_it_stopped(mim, workspace, trained):
    work_dir = workspace / 'work_dirs/resumed'
    work_dir.mkdir(parents=True)
    shutil.copy(trained, work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / trained.name))
    output = mim('train', 'mmpose', config_path(CONFIG), '--work-dir',
                 work_dir, '--resume', '--cfg-options', *SHORT_ARGS,
                 'train_cfg.max_epochs=2', 'train_cfg.val_interval=3')
    assert 'resumed epoch: 1' in output
    # Safe on this machine: these files were written by this test.
    first, second = (
        torch.load(path, weights_only=False)
        for path in (trained, work_dir / 'epoch_2.pth'))
    assert second['meta']['iter'] == 2 * first['meta']['iter']
    step = second['optimizer']['state'][0]['step']
    assert step == 2 * first['optimizer']['state'][0]['step']


@pytest.mark.promise('other-input-sizes', 'own-configs')
def test_fine_tune_at_a_larger_size(mim, workspace, trained):
    # A user's config, whose custom_imports replace the plugin's.
    config = workspace / 'larger.py'
    config.write_text(f"_base_ = 'lgm_pose_plugin::{LARGER}'\n"
                      "custom_imports = dict(imports=['json'])\n")
    output = mim('train', 'lgm_pose_plugin', config, '--work-dir',
                 'work_dirs/larger', '--cfg-options', *SHORT_ARGS,
                 'train_dataloader.dataset.indices=4',
                 'train_cfg.val_interval=2', f'load_from={trained}')
    for grids in ('[8, 6] to [12, 9]', '[4, 3] to [6, 5]'):
        assert f'resized from {grids} patches' in output
    assert (workspace / 'work_dirs/larger/epoch_1.pth').exists()


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
