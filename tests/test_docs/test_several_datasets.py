"""The page of docs on several data sets does what it says."""
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmpose.datasets import CombinedDataset
from mmpose.registry import DATASETS

from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.datasets.base.checked_dataset import BadDataError
from lgm_pose_plugin.datasets.rendered.writer import write_dataset

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'several_datasets.md'
FACE = range(5)  # of COCO's key points

pytestmark = pytest.mark.skipif(
    'sample_ratio_factor' not in inspect.signature(CombinedDataset).parameters,
    reason='MMPose 1.1 takes all of each data set')


@pytest.fixture
def dataset(tmp_path, monkeypatch, rendered_lsp):
    """The page's data set, on rendered people: 3 of COCO's, 4 of LSP's."""
    monkeypatch.chdir(tmp_path)
    write_dataset('data/coco', 3, seed=0, split='train2017', max_people=1)
    rendered_lsp(Path('data/lsp'), 5)
    assert main(['convert-lsp', 'data/lsp', '--val-from', '5']) == 0
    code, = re.findall('```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
    name, = re.findall(r'`(\S+\.py)`:', PAGE.read_text())
    Path(name).write_text(code)
    return DATASETS.build(Config.fromfile(name).train_dataloader.dataset)


@pytest.fixture
def broken(dataset):
    """The file name of LSP's first picture, which no longer is one."""
    path = Path(dataset.get_data_info(3)['img_path'])
    path.write_bytes(path.read_bytes()[:1000])
    return path.name


@pytest.mark.promise('several-datasets')
def test_shares(dataset):
    """As many people of each as the factors say."""
    assert len(dataset) == 3 * 1 + 4 * 2.5
    sources = [
        dataset.get_data_info(i)['img_path'].split('/')[1]
        for i in range(len(dataset))
    ]
    assert sources == ['coco'] * 3 + ['lsp'] * 10


@pytest.mark.promise('several-datasets')
def test_targets(dataset):
    """Both have COCO's key points; LSP's have no face."""
    weights = [
        dataset[i]['data_samples'].gt_instance_labels.keypoint_weights[0]
        for i in range(len(dataset))
    ]
    coco, lsp = np.mean(weights[:3], 0), np.mean(weights[3:], 0)
    assert len(coco) == len(lsp) == 17
    assert coco[FACE].max() > 0 and not lsp[FACE].any()
    assert lsp[5:].all()


@pytest.mark.promise('several-datasets')
def test_converted_joints(dataset):
    """Each of LSP's joints is where COCO has its namesake."""
    joints = dataset.datasets[1].get_data_info(0)['keypoints'][0]
    converted = dataset.get_data_info(3)['keypoints'][0]
    indices = dataset.metainfo['keypoint_name2id']
    names = dataset.datasets[1].metainfo['keypoint_id2name']
    common = [i for i in names if names[i] in indices]
    assert len(common) == 12
    np.testing.assert_array_equal(
        converted[[indices[names[i]] for i in common]], joints[common])


@pytest.mark.promise('several-datasets')
def test_broken_picture_stops(dataset, broken):
    with pytest.raises(BadDataError, match=f'annotation 1 of .*{broken}'):
        dataset[3]


@pytest.mark.promise('several-datasets')
def test_broken_picture_is_skipped_and_logged(dataset, broken, logged):
    dataset.datasets[1].on_bad = 'skip'
    sample = dataset[3]
    assert broken not in sample['data_samples'].img_path
    wanted = f'skipped annotation 1 of data/lsp/images/{broken}'
    assert any(wanted in text for text in logged)
