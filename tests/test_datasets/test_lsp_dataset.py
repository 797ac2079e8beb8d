"""LspDataset: its meta information and how MMPose's inferencers see it."""
import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmpose.apis import MMPoseInferencer
from mmpose.apis.inferencers import base_mmpose_inferencer, pose2d_inferencer
from mmpose.apis.inferencers.utils import default_det_models
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS

from lgm_pose_plugin.datasets import LspDataset
from lgm_pose_plugin.datasets.converters.lsp import convert

CONFIG = 'td-hm_lgm-pose_1xb16-60e_lsp-128x96'
# Of the data set's README.
NAMES = ('right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee',
         'left_ankle', 'right_wrist', 'right_elbow', 'right_shoulder',
         'left_shoulder', 'left_elbow', 'left_wrist', 'neck', 'head_top')


@pytest.fixture(scope='module')
def meta():
    return parse_pose_metainfo(LspDataset.METAINFO)


def mmpose_meta(name):
    return parse_pose_metainfo(
        dict(from_file=f'configs/_base_/datasets/{name}.py'))


def test_joints(meta):
    assert tuple(meta['keypoint_id2name'].values()) == NAMES
    assert meta['num_keypoints'] == 14
    for index, name in enumerate(NAMES):
        side, _, joint = name.partition('_')
        opposite = dict(left='right', right='left').get(side, side)
        mirrored = NAMES[meta['flip_indices'][index]]
        assert mirrored.partition('_') == (opposite, _, joint)
    assert len(set(map(frozenset, meta['flip_pairs']))) == 6
    assert sorted(meta['lower_body_ids']) == [0, 1, 2, 3, 4, 5]
    assert sorted(meta['upper_body_ids']) == list(range(6, 14))


def test_skeleton_is_the_same_mirrored_and_reaches_all(meta):
    links = {frozenset(link) for link in meta['skeleton_links']}
    flip = meta['flip_indices']
    assert links == {frozenset(flip[i] for i in link) for link in links}
    assert len(links) == len(meta['skeleton_links'])
    reached = {13}
    for _ in range(14):
        reached |= {i for link in links if link & reached for i in link}
    assert reached == set(range(14))


@pytest.mark.filterwarnings('ignore:The metainfo config file')
@pytest.mark.parametrize('field, source', [
    ('sigmas', 'crowdpose'),
    ('dataset_keypoint_weights', 'mpii'),
])
def test_figures_are_those_of_their_source(meta, field, source):
    other = mmpose_meta(source)
    names = other['keypoint_name2id']
    rename = dict(crowdpose=dict(head_top='top_head'),
                  mpii=dict(neck='upper_neck'))[source]  # yapf: disable
    expected = [other[field][names[rename.get(name, name)]] for name in NAMES]
    assert np.array_equal(meta[field], expected)


def test_loads_what_the_converter_writes(rendered_lsp, tmp_path):
    rendered_lsp(tmp_path, 4)
    convert(str(tmp_path), str(tmp_path), val_from=3)
    dataset = DATASETS.build(
        dict(
            type='LspDataset',
            data_root=str(tmp_path),
            ann_file='annotations/lspet_val.json',
            data_prefix=dict(img='images/')))
    written = json.loads(
        (tmp_path / 'annotations' / 'lspet_val.json').read_text())
    assert len(dataset) == len(written['annotations']) == 2
    for item, annotation in zip(dataset, written['annotations']):
        triplets = np.reshape(annotation['keypoints'], (14, 3))
        assert np.allclose(item['keypoints'][0], triplets[:, :2])
        assert np.array_equal(item['keypoints_visible'][0], triplets[:, 2] > 0)
        assert item['img_path'].endswith(f'im{item["img_id"]:05d}.jpg')


def test_inferencer_uses_the_detector_of_bodies(rendered_lsp, load_config,
                                                tmp_path, monkeypatch):
    """Outside of ...datasets.body it would take the whole image as a person.

    The detector is a stand-in, so that nothing is downloaded.
    """
    box = [30., 20., 90., 110.]
    built = []

    class Detector:

        def __init__(self, model, *args, **kwargs):
            built.append(model)

        def __call__(self, image, **kwargs):
            sample = DetDataSample(
                pred_instances=InstanceData(
                    bboxes=torch.tensor([box, [0., 0., 50., 50.]]),
                    scores=torch.tensor([.9, .9]),
                    labels=torch.tensor([0, 1])))  # a person, a bicycle
            return dict(predictions=[sample])

    module = (
        base_mmpose_inferencer if hasattr(
            base_mmpose_inferencer, 'DetInferencer') else pose2d_inferencer)
    monkeypatch.setattr(module, 'DetInferencer', Detector)
    config = tmp_path / 'config.py'
    load_config(CONFIG).dump(str(config))
    inferencer = MMPoseInferencer(pose2d=str(config), device='cpu')
    assert built[0] == default_det_models['body']['model']
    source = rendered_lsp(tmp_path / 'lsp', 1)
    result, = inferencer(str(source / 'images' / 'im00001.jpg'))
    person, = result['predictions'][0]
    assert np.allclose(person['bbox'], [box])
    assert np.shape(person['keypoints']) == (14, 2)
