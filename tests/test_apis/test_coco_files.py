"""COCO's image ids, boxes and results."""
import json

import numpy as np
import pytest
from mmpose.datasets import CocoDataset
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation import CocoMetric

from lgm_pose_plugin.apis.coco_files import (BoxFile, ImageIds, from_xywh,
                                             keypoint_results)

IMAGES = [
    dict(id=7, file_name='a/1.jpg'),
    dict(id=8, file_name='b/1.jpg'),
    dict(id=9, file_name='c/2.jpg'),
    dict(id=10, file_name='1.jpg')
]


def dump(path, data):
    path.write_text(json.dumps(data))
    return str(path)


def test_ids_by_file_name(tmp_path):
    ids = ImageIds.from_file(dump(tmp_path / 'i.json', dict(images=IMAGES)))
    assert ids.find('/data/a/1.jpg') == 7
    assert ids.find('/data/b/1.jpg') == 8
    assert ids.find('/data/1.jpg') == 10  # the longest that it ends in
    assert ids.find('/elsewhere/2.jpg') == 9  # the only one of this name
    with pytest.raises(ValueError, match='no images of .*i.json have'):
        ids.find('/data/3.jpg')
    with pytest.raises(ValueError, match='2 images.*, a/1.jpg, b/1.jpg'):
        ImageIds(dict(images=IMAGES[:2]), 'it').find('/data/1.jpg')


def test_ids_by_number_or_order():
    ids = ImageIds.from_names(['x/000139.jpg', 'x/000007.jpg'])
    assert ids.find('x/000139.jpg') == 139 and ids.find('x/000007.jpg') == 7
    for paths in (['x/7.jpg', 'y/07.jpg'], ['x/7.jpg', 'y/seven.jpg']):
        ids = ImageIds.from_names(paths)
        assert [ids.find(path) for path in paths] == [1, 2]


def test_boxes_of_annotations(tmp_path):
    path = dump(
        tmp_path / 'ann.json',
        dict(
            images=IMAGES,
            categories=[dict(id=1, name='cat'),
                        dict(id=3, name='person')],
            annotations=[
                dict(image_id=7, category_id=3, bbox=[1, 2, 30, 40]),
                dict(image_id=7, category_id=1, bbox=[5, 5, 5, 5]),
                dict(image_id=7, category_id=3, bbox=[0, 0, 9, 9], iscrowd=1),
                dict(image_id=7, category_id=3, bbox=[4, 4, 8, 8]),
                dict(image_id=8, category_id=3, bbox=[4, 4, 0, 8]),
            ]))
    boxes = BoxFile(path, score_thr=0.3)
    found = boxes.find('a/1.jpg')
    assert found.boxes.tolist() == [[1, 2, 31, 42], [4, 4, 12, 12]]
    assert found.scores.tolist() == [1, 1]
    assert found.boxes.dtype == found.scores.dtype == np.float32
    nobody = boxes.find('2.jpg')
    assert nobody.boxes.shape == (0, 4) and nobody.scores.shape == (0, )
    assert len(boxes.find('b/1.jpg').boxes) == 0
    note, = boxes.notes
    assert '1 boxes are left out' in note and '[4, 4, 0, 8]' in note


def annotations(**changes):
    """A file of one picture and one person."""
    return dict(
        dict(
            images=[dict(id=1, file_name='1.jpg')],
            categories=[dict(id=5, name='person')],
            annotations=[dict(image_id=1, category_id=5, bbox=[1, 2, 3, 4])]),
        **changes)


def found_in(tmp_path, data, **kwargs):
    boxes = BoxFile(dump(tmp_path / 'a.json', data), **kwargs)
    return boxes.find('x/1.jpg').boxes.tolist(), boxes.notes


@pytest.mark.parametrize('names, category', [
    (['Person'], None),
    (['hand'], None),
    (['skeleton'], 'skeleton'),
    (['cat', 'PERSON'], None),
    (['person', 'Person'], None),
    (['cat', 'hand'], 'hand'),
    (['person', 'hand'], 'Hand'),
])
def test_categories_of_labelling_tools(tmp_path, names, category):
    data = annotations(
        categories=[dict(id=i, name=name) for i, name in enumerate(names)],
        annotations=[
            dict(image_id=1, category_id=i, bbox=[1, 2, 3, 4 + i])
            for i in range(len(names))
        ])
    wanted = (category or 'person').casefold()
    index = [name.casefold()
             for name in names].index(wanted) if len(names) > 1 else 0
    found, notes = found_in(tmp_path, data, category=category)
    assert found == [[1, 2, 4, 6 + index]] and not notes


@pytest.mark.parametrize('categories, category', [
    (['cat', 'dog'], None),
    (['person'], 'hand'),
    (['Hand', 'HAND'], 'hand'),
    ([], 'hand'),
])
def test_categories_that_are_not_clear(tmp_path, categories, category):
    data = annotations(categories=[
        dict(id=i, name=name) for i, name in enumerate(categories)
    ])
    with pytest.raises(ValueError, match='a.json: it has the cat.*--category'):
        found_in(tmp_path, data, category=category)


def test_annotations_without_categories(tmp_path):
    """Whatever their numbers."""
    data = annotations()
    del data['categories']
    assert found_in(tmp_path, data) == ([[1, 2, 4, 6]], [])
    del data['annotations'][0]['category_id']
    assert found_in(tmp_path, data) == ([[1, 2, 4, 6]], [])


@pytest.mark.parametrize('image, annotation', [('1', 1), (1, '1'), (1., 1),
                                               (1, 1.), (-7, '-7'),
                                               ('a-1', 'a-1'),
                                               (10**20, 10**20)])
def test_ids_of_labelling_tools(tmp_path, image, annotation):
    data = annotations()
    data['images'][0]['id'] = image
    data['annotations'][0].update(image_id=annotation, category_id='5')
    assert found_in(tmp_path, data) == ([[1, 2, 4, 6]], [])


@pytest.mark.parametrize('name', [
    '.\\1.jpg', 'x\\1.jpg', './1.jpg', './x/1.jpg', 'D:\\y\\1.jpg',
    'z/../x/1.jpg'
])
def test_file_names_of_labelling_tools(tmp_path, name):
    data = annotations(images=[dict(id=1, file_name=name)])
    assert found_in(tmp_path, data) == ([[1, 2, 4, 6]], [])


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-be'])
def test_encodings_of_windows(tmp_path, encoding):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(annotations()), encoding=encoding)
    assert len(BoxFile(str(path)).find('1.jpg').boxes) == 1


@pytest.mark.parametrize('box',
                         [[4, 4, 0, 0], [4, 4, 0, 8], [4, 4, -1, 8], [], None])
def test_a_bad_box_is_left_out_and_told(tmp_path, box):
    data = annotations()
    data['annotations'].append(dict(image_id=1, category_id=5, bbox=box))
    found, (note, ) = found_in(tmp_path, data)
    assert found == [[1, 2, 4, 6]]
    assert 'a.json: 1 boxes are left out, the first of image 1' in note


def test_boxes_of_no_image_are_told(tmp_path):
    data = annotations()
    data['annotations'].append(
        dict(image_id=3, category_id=5, bbox=[1, 1, 9, 9]))
    found, (note, ) = found_in(tmp_path, data)
    assert found == [[1, 2, 4, 6]]
    assert '1 boxes are of images' in note and 'the image 3' in note


@pytest.mark.parametrize('change, match', [
    (dict(annotations=[]), 'no box of the category .*, of 0 in all'),
    (dict(categories=[dict(id=6, name='person')]), 'no box .*, of 1 in all'),
    (dict(images=[dict(id=2, file_name='1.jpg')]), 'no box can be used.*of im'
     'ages that .*a.json does not have'),
    (dict(annotations=[dict(image_id=1, bbox=[0, 0, 0, 0])]), 'can be used'),
    (dict(annotations=[dict(image_id=1.5, bbox=[0, 0, 9, 9])]), '1.5 is not'),
    (dict(images=[dict(id=None, file_name='1.jpg')]), 'None is not an id'),
])
def test_files_of_nobody_are_refused(tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        found_in(tmp_path, annotations(**change))


def test_boxes_of_results(tmp_path):
    # Results have COCO's categories, also of images with others.
    images = dump(tmp_path / 'images.json',
                  dict(images=IMAGES, categories=[dict(id=0, name='person')]))
    path = dump(tmp_path / 'results.json', [
        dict(image_id=9, category_id=1, bbox=[1, 2, 3, 4], score=0.4),
        dict(image_id=9, category_id=1, bbox=[1, 2, 3, 5], score=0.3),
        dict(image_id=9, category_id=2, bbox=[1, 2, 3, 6], score=0.9),
    ])
    found = BoxFile(path, images, 0.3).find('2.jpg')
    assert found.boxes.tolist() == [[1, 2, 4, 6]]
    assert found.scores == pytest.approx([0.4])
    with pytest.raises(ValueError, match='--ann-file'):
        BoxFile(path)


@pytest.mark.parametrize('data, match', [
    ('{', 'cannot be read as JSON'),
    ('3', 'no images'),
    ('{}', 'no images'),
    ('{"images": [3]}', 'no images'),
    ('{"images": []}', 'no annotations'),
    ('{"images": [], "annotations": [{}]}', "no annotations.*'image_id'"),
])
def test_other_files(tmp_path, data, match):
    path = tmp_path / 'file.json'
    path.write_text(data)
    with pytest.raises(ValueError, match=match) as error:
        BoxFile(str(path))
    assert str(path) in str(error.value)
    with pytest.raises(FileNotFoundError, match='gone.json'):
        BoxFile(str(tmp_path / 'gone.json'))


@pytest.mark.parametrize('box', [[0, 0, -1, 2], [0, 0, 1], [0, 0, 1, np.nan]])
def test_wrong_boxes(box):
    with pytest.raises(ValueError, match='is not .left, top, width, height'):
        from_xywh([[0, 0, 1, 1], box])


@pytest.mark.promise('coco-results')
def test_results_are_those_of_mmpose(tmp_path):
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 99, (3, 17, 2)).astype(np.float32)
    scores = rng.uniform(0, 1, (3, 17)).astype(np.float32)
    scores[2] = 0.1
    box_scores = np.float32([0.9, 0.5, 0.7])
    metric = CocoMetric(
        format_only=True,
        outfile_prefix=str(tmp_path / 'mmpose'),
        nms_mode='none')
    metric.dataset_meta = parse_pose_metainfo(CocoDataset.METAINFO)
    metric.coco = type('Coco', (), dict(anns={}))()
    metric.compute_metrics([(dict(
        id=i,
        img_id=5,
        category_id=1,
        keypoints=keypoints[i:i + 1],
        keypoint_scores=scores[i:i + 1],
        bbox_scores=box_scores[i:i + 1]), {}) for i in range(3)])
    expected = json.loads((tmp_path / 'mmpose.keypoints.json').read_text())
    found = keypoint_results(5, keypoints, scores, box_scores)
    assert len(found) == len(expected) == 3
    for one, other in zip(found, expected):
        assert one.keys() == other.keys()
        assert one['image_id'] == 5 and one['category_id'] == 1
        assert one['keypoints'] == pytest.approx(other['keypoints'])
        assert one['score'] == pytest.approx(other['score'])


@pytest.mark.parametrize('score', [np.nan, 'a', None])
def test_box_scores_that_are_no_numbers(score):
    with pytest.raises(ValueError, match='with the score'):
        from_xywh([[0, 0, 1, 1]], [score])
