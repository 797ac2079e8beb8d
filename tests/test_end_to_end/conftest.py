"""Fixtures of the end-to-end tests: a data folder and mim."""
import importlib.metadata
import json
import os
import os.path as osp
import subprocess
import sys
from uuid import uuid4

import pytest
from mmengine.runner import Runner

from lgm_pose_plugin.datasets.rendered.writer import write_dataset


def _is_editable() -> bool:
    origin = importlib.metadata.distribution('lgm_pose_plugin').read_text(
        'direct_url.json')
    return bool(origin) and json.loads(origin).get('dir_info', {}).get(
        'editable', False)


def write_boxes(coco, name, annotations):
    """Write the boxes of annotations as those of a detector."""
    folder = coco / 'person_detection_results'
    folder.mkdir()
    (folder / f'{name}_person.json').write_text(
        json.dumps([
            dict(
                image_id=annotation['image_id'],
                category_id=1,
                bbox=annotation['bbox'],
                score=0.9) for annotation in annotations
        ]))


@pytest.fixture(scope='session')
def workspace(tmp_path_factory):
    """A folder with rendered people in data/coco, laid out as COCO's.

    The detected boxes lack one person.
    """
    root = tmp_path_factory.mktemp('workspace')
    coco = root / 'data' / 'coco'
    write_dataset(str(coco), 8, seed=0, split='train2017')
    write_dataset(str(coco), 4, seed=0, split='val2017')
    people = json.loads(
        (coco / 'annotations/person_keypoints_val2017.json').read_text())
    write_boxes(coco, 'COCO_val2017_detections_AP_H_56',
                people['annotations'][1:])
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
                                text=True)
        assert (result.returncode == 0) is check, result.stdout[-5000:]
        return result.stdout

    return run


# A short run without worker processes.
SHORT = {
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
    **{
        f'{split}_dataloader.{key}': value
        for split in ('train', 'val', 'test') for key, value in dict(
            batch_size=4, num_workers=0, persistent_workers=False).items()
    }
}  # yapf: disable
SHORT_ARGS = [f'{key}={value}' for key, value in SHORT.items()]


@pytest.fixture(scope='session')
def make_runner(load_config):
    """Make the runner of a short run of a config, see ``load_config``."""

    def make(name, **options):
        cfg = load_config(name, **options)
        cfg.merge_from_dict(SHORT)
        cfg.log_level = 'WARNING'
        # Runners of one name and second share their best score.
        cfg.experiment_name = str(uuid4())
        return Runner.from_cfg(cfg)

    return make
