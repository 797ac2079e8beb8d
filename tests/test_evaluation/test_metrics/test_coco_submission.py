import json
import re

import numpy as np
import pytest
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS, METRICS

CONFIGS = [
    f'td-hm_lgm-pose_1xb32-260e_coco-{size}-test-dev'
    for size in ('256x192', '384x288')
]


@pytest.fixture
def image_info(tmp_path):
    """A file as COCO's image_info_test-dev2017.json: no annotations."""
    path = tmp_path / 'annotations' / 'image_info_test-dev2017.json'
    path.parent.mkdir()
    path.write_text(
        json.dumps(
            dict(
                info={},
                images=[
                    dict(id=i, file_name=f'{i:012}.jpg', width=64, height=48)
                    for i in (3, 7)
                ],
                categories=[
                    dict(id=i, name=name)
                    for i, name in enumerate(('person', 'bicycle'), 1)
                ])))
    return path


def prediction(index, image_id, score=0.9):
    keypoints = np.random.default_rng(index).uniform(0, 48, (1, 17, 2))
    return dict(
        id=index,
        img_id=image_id,
        category_id=1,
        gt_instances=dict(
            bbox_scores=np.array([score], dtype=np.float32),
            bbox_scales=np.array([[60., 80.]])),
        pred_instances=dict(
            bboxes=np.array([[1., 2., 30., 40.]]),
            keypoints=keypoints,
            keypoint_scores=np.full((1, 17), 0.5, dtype=np.float32)))


@pytest.mark.promise('test-dev')
@pytest.mark.parametrize('name', CONFIGS)
def test_submission(load_config, image_info, tmp_path, name, logged):
    cfg = load_config(name).test_evaluator
    assert cfg.type == 'CocoSubmission'
    prefix = tmp_path / 'new' / 'folder' / cfg.outfile_prefix.split('/')[-1]
    metric = METRICS.build(
        dict(cfg, ann_file=str(image_info), outfile_prefix=str(prefix)))
    metric.dataset_meta = parse_pose_metainfo(
        dict(from_file='configs/_base_/datasets/coco.py'))
    predictions = [
        prediction(0, 7),
        prediction(1, 3, score=0.4),
        prediction(2, 3),
        prediction(2, 3),  # a sampler's padding
    ]
    for one in predictions:
        metric.process({}, [one])
    assert metric.evaluate(4) == {}

    written, = prefix.parent.iterdir()
    assert written.name == f'{prefix.name}.json'
    # person_keypoints_[subset]_[algorithm]_results.json
    assert re.fullmatch(r'person_keypoints_test-dev2017_[^_]+_results\.json',
                        written.name)
    assert any(str(written) in text for text in logged)
    results = json.loads(written.read_text())
    assert [one['image_id'] for one in results] == [7, 3, 3]
    for one in results:
        assert set(one) == {'image_id', 'category_id', 'keypoints', 'score'}
        assert one['category_id'] == 1
        assert len(one['keypoints']) == 51
    assert sorted(one['score']
                  for one in results) == pytest.approx([0.2, 0.45, 0.45])
    triplets = np.array(results[0]['keypoints']).reshape(17, 3)
    expected = predictions[0]['pred_instances']
    assert np.allclose(triplets[:, :2], expected['keypoints'][0])
    assert np.allclose(triplets[:, 2], 0.5)


def test_needs_a_place(image_info):
    with pytest.raises(AssertionError, match='outfile_prefix'):
        METRICS.build(dict(type='CocoSubmission', ann_file=str(image_info)))


@pytest.mark.parametrize('name', CONFIGS)
def test_configs_load_test_dev(load_config, image_info, tmp_path, name):
    cfg = load_config(name)
    dataset = cfg.test_dataloader.dataset
    assert dataset.data_prefix.img == 'test2017/'
    assert 'test-dev2017_detections' in dataset.bbox_file
    assert cfg.data_root + dataset.ann_file == cfg.test_evaluator.ann_file
    assert 'val2017' in cfg.val_dataloader.dataset.ann_file
    assert cfg.val_evaluator.type == 'CocoMetric'

    boxes = tmp_path / 'boxes.json'
    boxes.write_text(
        json.dumps([
            dict(
                image_id=image_id,
                category_id=category,
                bbox=[1., 2., 30., 40.],
                score=0.9) for image_id, category in ((3, 1), (7, 1), (7, 2))
        ]))
    built = DATASETS.build(
        dict(dataset, data_root=str(tmp_path), bbox_file=str(boxes)))
    assert [built.get_data_info(i)['img_id']
            for i in range(len(built))] == [3, 7]
    assert dataset.ann_file == f'annotations/{image_info.name}'
