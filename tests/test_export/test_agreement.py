"""What int8 costs: agreement of key points, metrics before and after."""
import copy

import numpy as np
import pytest

pytest.importorskip('onnx')
from mmpose.registry import KEYPOINT_CODECS, TRANSFORMS  # noqa: E402

from lgm_pose_plugin.datasets.rendered import writer  # noqa: E402
from lgm_pose_plugin.export import agreement as accuracy  # noqa: E402
from lgm_pose_plugin.export.graph import ExportError  # noqa: E402
from lgm_pose_plugin.models import builder as networks  # noqa: E402
from lgm_pose_plugin.runtime.session import Session  # noqa: E402

pytestmark = pytest.mark.e2e

RENDERED = 'td-hm_lgm-pose_1xb4-2e_rendered-128x96'


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    """A data set of rendered people, several in an image."""
    root = tmp_path_factory.mktemp('rendered')
    writer.write_dataset(str(root), 8, 0, 'val2017', (160, 120))
    return root


@pytest.fixture
def cfg(load_config, rendered):
    return load_config(
        RENDERED,
        test_dataloader__dataset__data_root=str(rendered),
        test_evaluator__ann_file=str(
            rendered / 'annotations/person_keypoints_val2017.json'))


def test_agreement():
    expected = np.zeros((2, 3, 2))
    expected_scores = np.array([[1, .9, .31], [.29, 0, -1]])
    found, scores = expected.copy(), expected_scores / 2
    found[0, 0] = 3, 4
    found[0, 1] = 0, 12.8
    found[0, 2] = 13, 0
    found[1] = 1000
    report = accuracy.agreement(expected, expected_scores, found, scores, 256)
    assert report == pytest.approx(
        dict(
            confident_keypoints=3,
            near_px=12.8,
            near=2 / 3,
            mean_distance_px=30.8 / 3,
            median_distance_px=12.8,
            mean_score_float32=2.21 / 3,
            mean_score_int8=2.21 / 6))
    accuracy.check_agreement(report)
    for wrong in (dict(near=.49), dict(mean_score_int8=.36), dict(near=np.nan),
                  dict(mean_score_int8=np.nan)):
        with pytest.raises(ExportError, match='int8 destroys this network'):
            accuracy.check_agreement({**report, **wrong})
    with pytest.raises(ExportError, match='no score is above zero'):
        accuracy.agreement(expected, -expected_scores.clip(0), found, scores,
                           256)


def test_images_of_the_first_people(cfg):
    everyone, _ = accuracy.evaluation_people(cfg, None)
    images = [one['img_id'] for one in everyone]
    # Cut in the middle of an image with several people.
    people = next(
        i for i in range(1, len(images)) if images[i] == images[i - 1])
    some, evaluators = accuracy.evaluation_people(cfg, people)
    taken = set(images[:people])
    assert [one['img_id']
            for one in some] == [image for image in images if image in taken]
    assert people < len(some) < len(everyone)
    for evaluator in evaluators:
        coco = evaluator.metrics[0].coco
        assert set(coco.getImgIds()) == taken
        assert evaluator.dataset_meta['num_keypoints'] == 17
    assert len(accuracy.evaluation_people(cfg, 1000)[0]) == len(everyone)


def test_missing_annotations(cfg):
    cfg.test_evaluator.ann_file = 'nowhere.json'
    with pytest.raises(ValueError, match='ann_file.*nowhere.json'):
        accuracy.evaluation_people(cfg, None)


def perfect_maps(cfg, people):
    """The heat maps of the annotations, of shape (N, 17, 32, 24)."""
    codec = KEYPOINT_CODECS.build(cfg.codec)
    steps = [
        TRANSFORMS.build(step)
        for step in cfg.test_dataloader.dataset.pipeline[:3]
    ]
    maps = []
    for one in copy.deepcopy(people):
        for step in steps:
            one = step(one)
        maps.append(
            codec.encode(one['transformed_keypoints'],
                         one['keypoints_visible'])['heatmaps'])
    return np.stack(maps)


def session_of(maps):
    """A file that returns these maps, whatever it is given."""
    rest = list(maps)

    def run(inputs):
        assert inputs.shape[1:] == (128, 96, 3)
        return dict(heatmaps=np.stack([rest.pop(0) for _ in inputs]))

    return Session(None, (None, ), {}, run)


@pytest.mark.promise('int8-accuracy')
@pytest.mark.parametrize('people', [None, 5])
def test_metrics_before_and_after(cfg, monkeypatch, people):
    monkeypatch.setattr(accuracy, 'BATCH', 4)
    raw, evaluators = accuracy.evaluation_people(cfg, people)
    assert len(raw) > 4
    maps = perfect_maps(cfg, raw)
    wrong = np.roll(maps, 3, axis=3) * np.float32(.8)
    report = accuracy.compare(
        networks.build_model(cfg), cfg, raw,
        [session_of(maps), session_of(wrong)], True, evaluators)
    # Restricted to these people: what was not looked at is not missed.
    assert report['accuracy']['float32']['coco/AP'] > .75
    assert report['accuracy']['int8']['coco/AP'] < .5
    agreement = report['agreement']
    assert agreement['number_of_crops'] == len(raw)
    assert agreement['confident_keypoints'] > 5 * len(raw)
    assert agreement['near'] < .2
    # Three of 24 columns, 96 pixels for 23 steps; some wrap around.
    assert agreement['median_distance_px'] == pytest.approx(3 * 96 / 23, .05)
    assert agreement['mean_score_int8'] == pytest.approx(
        .8 * agreement['mean_score_float32'])
    same = accuracy.compare(
        networks.build_model(cfg), cfg, raw,
        [session_of(maps), session_of(maps)], True)
    assert 'accuracy' not in same
    assert same['agreement']['near'] == 1
