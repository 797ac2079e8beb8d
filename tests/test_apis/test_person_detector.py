"""Person boxes by detectors of MMDetection."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from lgm_pose_plugin.apis.coco_files import Boxes
from lgm_pose_plugin.apis.person_detector import (PersonDetector,
                                                  detection_results)
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.models import detector_model
from lgm_pose_plugin.models.detector_model import (_class_names, _load_weights,
                                                   load_detector_config)


@pytest.fixture(scope='module')
def picture():
    return render_image(np.random.default_rng(0))[0]


def test_takes_people_above_the_thresholds(detector_files, picture):
    everyone = PersonDetector(*detector_files, score_thr=0, nms_thr=None)
    assert everyone.cat_ids == [1]  # of car, person
    found = everyone(picture)
    assert len(found.boxes) > 15
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes[:, 2:] - found.boxes[:, :2] >= 1).all()
    threshold = float(np.median(found.scores))
    some = PersonDetector(
        *detector_files, score_thr=threshold, nms_thr=None)(
            picture)
    above = found.scores > threshold
    np.testing.assert_array_equal(some.boxes, found.boxes[above])
    few = PersonDetector(*detector_files, score_thr=0, nms_thr=0.1)(picture)
    assert 0 < len(few.boxes) < len(found.boxes)
    np.testing.assert_array_equal(few.boxes[0], found.boxes[0])


def test_takes_classes_by_number(detector_files, picture):
    thresholds = dict(score_thr=0, nms_thr=None)
    people, cars, both = (
        PersonDetector(*detector_files, cat_ids=ids, **thresholds)(picture)
        for ids in (None, [0], [0, 1]))
    assert 0 < len(cars.boxes)
    assert len(both.boxes) == len(cars.boxes) + len(people.boxes)
    with pytest.raises(ValueError, match='{0: .car., 1: .person.}'):
        PersonDetector(*detector_files, cat_ids=[2])


def save_config(path, config, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(changes)
    cfg.dump(path)
    return str(path)


def test_detectors_without_people(detector_files, tmp_path):
    config, checkpoint = detector_files
    animals = save_config(
        tmp_path / 'animals.py', config,
        **{'test_dataloader.dataset.metainfo.classes': ('cat', 'dog')})
    with pytest.raises(
            ValueError, match="{0: 'cat', 1: 'dog'}; .* --det-cat-ids"):
        PersonDetector(animals, checkpoint)
    assert PersonDetector(animals, checkpoint, cat_ids=[1]).cat_ids == [1]
    # What the checkpoint says goes before.
    weights = torch.load(checkpoint)
    weights['meta'] = dict(dataset_meta=dict(classes=('person', 'dog')))
    torch.save(weights, tmp_path / 'people.pth')
    people = PersonDetector(animals, str(tmp_path / 'people.pth'))
    assert people.cat_ids == [0]


def test_coco_is_known(detector_files, tmp_path):
    config = load_detector_config(
        'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py')
    names = _class_names(config, {})
    assert len(names) == 80 and names[0] == 'person'
    config.test_dataloader.dataset.metainfo = dict(classes='person')
    assert _class_names(config, {}) == ['person']


@pytest.mark.promise('foreign-weights')
def test_wrong_files(detector_files, small_network, tmp_path):
    config, checkpoint = detector_files
    with pytest.raises(ValueError, match="no config 'gone.py'"):
        PersonDetector('gone.py', checkpoint)
    with pytest.raises(FileNotFoundError, match='gone.pth'):
        PersonDetector(config, 'gone.pth')
    (tmp_path / 'text.pth').write_text('no checkpoint')
    with pytest.raises(ValueError, match='text.pth: not a checkpoint'):
        PersonDetector(config, str(tmp_path / 'text.pth'))
    other = small_network('udp')[2]
    with pytest.raises(
            ValueError, match='udp.pth is not a checkpoint of .*'
            'detector.py'):
        PersonDetector(config, other)
    (tmp_path / 'config.py').write_text('a = 1')
    with pytest.raises(ValueError, match='config.py is not a config of an MM'):
        PersonDetector(str(tmp_path / 'config.py'), checkpoint)


def test_names_that_begin_as_those_of_wrappers(tmp_path):
    """Of data-parallel wrappers, which write ``module.``."""
    model = torch.nn.Module()
    model.modules_list = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
    weights = {
        name: torch.full_like(value, 3)
        for name, value in model.state_dict().items()
    }
    for prefix in ('', 'module.'):
        path = str(tmp_path / f'{prefix}net.pth')
        torch.save(
            dict(state_dict={
                prefix + k: v
                for k, v in weights.items()
            }), path)
        _load_weights(model, path, 'config.py')
        assert model.modules_list[0].bias.item() == 3
        model.modules_list[0].bias.data.zero_()


def test_results():
    people = Boxes(
        np.float32([[1.234, 2, 11.111, 22]]), np.float32([0.8765432]))
    found = detection_results(7, people)
    assert found == [
        dict(
            image_id=7, category_id=1, bbox=[1.23, 2, 9.88, 20], score=0.87654)
    ]
    json.dumps(found)


def test_weights_of_another_number_of_classes(detector_files, tmp_path):
    config, checkpoint = detector_files
    weights = torch.load(checkpoint)
    for name, value in weights['state_dict'].items():
        if 'rtm_cls' in name:
            weights['state_dict'][name] = value[:1]
    torch.save(weights, str(tmp_path / 'one.pth'))
    with pytest.raises(
            ValueError, match='size mismatch for bbox_head.rtm_cls'):
        PersonDetector(config, str(tmp_path / 'one.pth'))


def test_small_boxes(detector_files, monkeypatch):
    detector = PersonDetector(*detector_files, nms_thr=None)
    boxes = torch.tensor([[5., 5, 5.9, 50], [5, 5, 50, 5.9], [5, 5, 6, 6]])
    found = InstanceData(
        bboxes=boxes, scores=torch.full((3, ), .9), labels=torch.ones(3))
    monkeypatch.setattr(detector_model, 'inference_detector',
                        lambda *args: SimpleNamespace(pred_instances=found))
    image = np.zeros((60, 60, 3), np.uint8)
    assert detector(image).boxes.tolist() == [[5, 5, 6, 6]]


def test_detectors_that_cannot_be_built(detector_files, tmp_path):
    config, checkpoint = detector_files
    cfg = Config.fromfile(config)
    cfg.model.type = 'YOLODetector'
    cfg.dump(str(tmp_path / 'yolo.py'))
    with pytest.raises(
            ValueError, match='yolo.py cannot be built: KeyError: .*YOLODet'):
        PersonDetector(str(tmp_path / 'yolo.py'), checkpoint)
