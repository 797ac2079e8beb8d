"""pycocotools gives xtcocotools' numbers, to the last digit."""
import copy
import json

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest

from lgm_pose_plugin.compat.xtcocotools import coco as compat_coco
from lgm_pose_plugin.compat.xtcocotools import cocoeval as compat_cocoeval
from lgm_pose_plugin.compat.xtcocotools import mask as compat_mask

SIGMAS = dict(keypoints=17, foot_kpts=6, face_kpts=68, lefthand_kpts=21,
              righthand_kpts=21)  # yapf: disable
PARTS = ('body', 'foot', 'face', 'lefthand', 'righthand', 'wholebody')


@pytest.fixture
def xtcocotools():
    """The real one."""
    pytest.importorskip('xtcocotools._mask')
    import xtcocotools.coco
    import xtcocotools.cocoeval
    return xtcocotools


def make_people(rng, images=12, categories=1):
    """Annotations with crowds, people without key points and equal areas."""
    annotations = []
    for image in range(images):
        for _ in range(rng.integers(5)):
            size = rng.choice([20, 60, 200])
            box = [*rng.integers(0, 400, 2).tolist(), int(size), int(2 * size)]
            person = dict(
                id=len(annotations),  # from 0, which pycocotools confuses
                image_id=image,
                category_id=int(rng.integers(categories)) + 1,
                bbox=box,
                area=float(rng.choice([0.3, 0.6])) * size * size,
                iscrowd=int(rng.random() < 0.1))
            for field, number in SIGMAS.items():
                points = rng.random((number, 3)) * [size, 2 * size, 3]
                points += [*box[:2], 0]
                points[:, 2] = np.floor(points[:, 2])
                if rng.random() < 0.1:
                    points[:] = 0
                person[field] = points.ravel().tolist()
            visible = np.array(person['keypoints'][2::3])
            person['num_keypoints'] = int((visible == 2).sum())
            annotations.append(person)
    return dict(
        info={},
        images=[
            dict(id=image, crowdIndex=float(rng.random()))
            for image in range(images)
        ],
        categories=[
            dict(id=category + 1, name=str(category))
            for category in range(categories)
        ],
        annotations=annotations)


def make_results(rng, data, fields=('keypoints', )):
    """People near the annotated ones, twice or not at all, and others."""
    results = []
    for person in data['annotations']:
        for _ in range(rng.integers(4)):
            noise = person['bbox'][2] * rng.choice([.01, .05, .2])
            result = dict(
                image_id=person['image_id'],
                category_id=person['category_id'],
                # Many of the same score.
                score=float(rng.integers(10) / 10))
            for field in fields:
                points = np.reshape(person[field], (-1, 3)).astype(float)
                points[:, :2] += rng.normal(0, noise, points[:, :2].shape)
                points[:, 2] = rng.random(len(points)) * (rng.random() > 0.1)
                result[field] = points.ravel().tolist()
                if rng.random() < 0.8:
                    part = field.replace('_kpts', '_score')
                    result[part.replace('keypoints', 'wholebody_score')] = \
                        float(rng.integers(10) / 10)
            results.append(result)
    return results


def evaluate(coco, cocoeval, path, results, iou_type, **options):
    truth = coco.COCO(str(path))
    found = truth.loadRes(copy.deepcopy(results))
    if iou_type == 'keypoints_crowd':  # which xtcocotools reads again
        found = truth.loadRes(str(path.with_name('results.json')))
    evaluator = cocoeval.COCOeval(truth, found, iou_type, **options)
    evaluator.params.useSegm = None
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval['precision']
    recall = evaluator.eval['recall']
    evaluator.summarize()
    return evaluator.stats, precision, recall


@pytest.fixture
def compare(xtcocotools, tmp_path):
    """Evaluate by both and compare all numbers."""

    def compare(data, results, iou_type, **options):
        path = tmp_path / 'annotations.json'
        path.write_text(json.dumps(data))
        path.with_name('results.json').write_text(json.dumps(results))
        args = (path, results, iou_type)
        expected = evaluate(xtcocotools.coco, xtcocotools.cocoeval, *args,
                            **options)
        found = evaluate(compat_coco, compat_cocoeval, *args, **options)
        for value, wanted in zip(found, expected):
            assert np.array_equal(value, wanted)
        return found[0]

    return compare


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('categories', [1, 3])
@pytest.mark.parametrize('use_area', [True, False])
def test_keypoints(compare, seed, categories, use_area):
    rng = np.random.default_rng(seed)
    data = make_people(rng, categories=categories)
    stats = compare(
        data, make_results(rng, data), 'keypoints', use_area=use_area)
    assert 0 < stats[0] < 1


def test_annotations_without_area_and_counts(compare):
    rng = np.random.default_rng(0)
    data = make_people(rng)
    results = make_results(rng, data)
    for person in data['annotations']:
        del person['area'], person['num_keypoints'], person['iscrowd']
    compare(data, results, 'keypoints', use_area=False)


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize('seed', range(3))
def test_wholebody(compare, part, seed):
    rng = np.random.default_rng(seed)
    data = make_people(rng)
    results = make_results(rng, data, SIGMAS)
    fields = [f'{part}_kpts']
    if part in ('body', 'wholebody'):
        fields = list(SIGMAS) if part == 'wholebody' else ['keypoints']
    number = sum(SIGMAS[field] for field in fields)
    # MMPose gives single precision.
    sigmas = rng.uniform(0.02, 0.1, number).astype(np.float32)
    stats = compare(data, results, f'keypoints_{part}', sigmas=sigmas)
    assert 0 < stats[0] < 1


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('images', [3, 40])  # with 3, none of some kind
def test_crowdpose(compare, seed, images):
    rng = np.random.default_rng(seed)
    data = make_people(rng, images=images)
    for person in data['annotations']:
        person['keypoints'] = person['keypoints'][:14 * 3]
        del person['area']
    stats = compare(
        data,
        make_results(rng, data),
        'keypoints_crowd',
        sigmas=np.full(14, 0.079),
        use_area=False)
    assert len(stats) == 9


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_boxes_and_masks(iou_type, tmp_path):
    rng = np.random.default_rng(0)
    data = make_people(rng)
    results = []
    for person in data['annotations']:
        x, y, w, h = person['bbox']
        person['segmentation'] = [[x, y, x + w, y, x + w, y + h]]
        box = (person['bbox'] + rng.normal(0, w / 20, 4)).tolist()
        results.append(
            dict(
                image_id=person['image_id'],
                category_id=1,
                bbox=box,
                score=float(rng.random())))
    for image in data['images']:
        image.update(width=900, height=900)
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(data))
    found = evaluate(compat_coco, compat_cocoeval, path, results, iou_type)
    # xtcocotools' masks need NumPy 1; pycocotools needs numbers from 1.
    for person in data['annotations']:
        person['id'] += 1
    path.write_text(json.dumps(data))
    expected = evaluate(pycocotools.coco, pycocotools.cocoeval, path, results,
                        iou_type)
    assert 0 < found[0][0] < 1
    for value, wanted in zip(found, expected):
        assert np.array_equal(value, wanted)


@pytest.mark.parametrize('split', ['train2017', 'val2017'])
@pytest.mark.parametrize('seed', range(3))
def test_coco(compare, coco_root, split, seed):
    path = coco_root / 'annotations' / f'person_keypoints_{split}.json'
    data = json.loads(path.read_text())
    results = make_results(np.random.default_rng(seed), data)
    stats = compare(data, results, 'keypoints')
    assert 0.1 < stats[0] < 1


def test_no_results(xtcocotools, tmp_path):
    data = make_people(np.random.default_rng(0))
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(data))
    args = (path, [], 'keypoints')
    expected = evaluate(xtcocotools.coco, xtcocotools.cocoeval, *args)
    found = evaluate(compat_coco, compat_cocoeval, *args)
    for value, wanted in zip(found, expected):
        assert np.array_equal(value, wanted)


def test_coco_takes_data_and_indices(xtcocotools, tmp_path):
    data = make_people(np.random.default_rng(0))
    del data['annotations'][0]['iscrowd']
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(data))
    expected = xtcocotools.coco.COCO(str(path), test_index=[3, 0])
    for found in (compat_coco.COCO(str(path), test_index=[3, 0]),
                  compat_coco.COCO(
                      str(path), [3, 0], ann_data=copy.deepcopy(data))):
        assert found.anns == expected.anns
        assert found.imgToAnns == expected.imgToAnns


def test_masks(xtcocotools):
    mask = np.asfortranarray(np.eye(6, dtype=np.uint8))
    encoded = compat_mask.encode(mask)
    assert encoded == xtcocotools.mask.encode(mask)
    assert np.array_equal(compat_mask.decode(encoded), mask)
    box, polygon = [1, 1, 3, 3], [[1, 1, 4, 1, 4, 4]]
    for shape in ([box], polygon):
        assert compat_mask.frPyObjects(
            np.array(shape, float) if shape == [box] else shape, 6,
            6) == xtcocotools.mask.frPyObjects(
                np.array(shape, float) if shape == [box] else shape, 6, 6)
