"""The page of docs on a user's own data does what it says."""
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from lgm_pose_plugin.datasets.rendered.writer import write_dataset
from lgm_pose_plugin.model_index import published_weights

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'own_data.md'
KEPT = (0, 9, 10, 15, 16)  # of COCO's


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The page's files, and rendered people with five key points."""
    monkeypatch.chdir(tmp_path)
    keypoints, config = re.findall('```python\n(.*?)```', PAGE.read_text(),
                                   re.DOTALL)
    Path('mine_keypoints.py').write_text(keypoints)
    name, = re.findall(r'The config, `(\S+)`', PAGE.read_text())
    Path(name).write_text(config)
    root = Path('data/mine')
    write_dataset(str(root), 4, seed=0, split='train2017', max_people=1)
    (root / 'train2017').rename(root / 'images')
    data = json.loads(
        (root / 'annotations/person_keypoints_train2017.json').read_text())
    for person in data['annotations']:
        points = [person['keypoints'][3 * i:3 * i + 3] for i in KEPT]
        person['keypoints'] = sum(points, [])
        person['num_keypoints'] = sum(point[2] > 0 for point in points)
    for split in ('train', 'val'):
        (root / f'annotations/{split}.json').write_text(json.dumps(data))
    return Config.fromfile(name)


@pytest.mark.e2e
def test_trains_from_the_shipped_weights(config, tmp_path):
    config.merge_from_dict({
        'work_dir': str(tmp_path / 'work'),
        'load_from': published_weights('lgm-pose_lsp-256x192'),
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'optim_wrapper.optimizer.lr': 0.,
        'default_hooks.checkpoint.interval': 1,
        **{
            f'{split}_dataloader.{key}': value
            for split in ('train', 'val', 'test') for key, value in dict(
                batch_size=2, num_workers=0, persistent_workers=False).items()
        }
    })  # yapf: disable
    runner = Runner.from_cfg(config)
    runner.train()
    assert 'val/coco/AP' in runner.message_hub.log_scalars
    # Safe on this machine: one is ours, the other was written by this test.
    start, end = (
        torch.load(str(path), weights_only=False)['state_dict']
        for path in (config.load_from, tmp_path / 'work/epoch_1.pth'))
    assert end['head.final_layer.weight'].shape[0] == 5
    # With a learning rate of 0 they are still those that were loaded.
    name = 'neck.deconvs.0.conv.weight'
    torch.testing.assert_close(end[name], start[name].float())
