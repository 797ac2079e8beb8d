"""``lgm-pose detect``."""
import importlib
import json
import sys

import cv2
import numpy as np
import pytest
from mmpose.datasets import CocoDataset

from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.rendered.writer import write_dataset
from lgm_pose_plugin.utils import progress


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_dataset(str(root), 3, seed=0, split='val2017')
    return root


def detect(detector_files, *args):
    config, checkpoint = detector_files
    return main([
        'detect', '--detector', config, '--det-checkpoint', checkpoint,
        '--device', 'cpu', '--bbox-thr', '0.3', *map(str, args)
    ])


def read_dataset(tmp_path, folder, ann_file, pipeline=()):
    return CocoDataset(
        ann_file=str(ann_file),
        bbox_file=str(tmp_path / 'boxes.json'),
        data_prefix=dict(img=f'{folder}/'),
        test_mode=True,
        pipeline=list(pipeline))


@pytest.mark.promise('detect')
def test_boxes_are_what_data_sets_read(detector_files, data, tmp_path, capsys):
    ann_file = data / 'annotations/person_keypoints_val2017.json'
    assert detect(detector_files, data / 'val2017', '--ann-file', ann_file,
                  '-o', tmp_path / 'boxes.json') == 0
    boxes = json.loads((tmp_path / 'boxes.json').read_text())
    assert {box['image_id'] for box in boxes} == {1, 2, 3}
    assert f'{len(boxes)} boxes in 3 images' in capsys.readouterr().out
    dataset = read_dataset(tmp_path, data / 'val2017', ann_file,
                           [dict(type='LoadImage')])
    assert len(dataset) == len(boxes) > 15
    for person, box in zip(dataset, boxes):
        assert person['img_id'] == box['image_id']
        assert person['img'].shape == (240, 320, 3)
        x, y, w, h = box['bbox']
        np.testing.assert_allclose(
            person['bbox'], [[x, y, x + w, y + h]], atol=1e-4)


def test_a_folder_without_annotations(detector_files, data, tmp_path, capsys):
    deep = tmp_path / 'images' / 'deep'
    deep.mkdir(parents=True)
    image = cv2.imread(str(data / 'val2017/000000000001.jpg'))
    for path in (deep / '1.jpg', deep.parent / '1.png'):
        cv2.imwrite(str(path), image)
    (deep / '2.jpg').write_bytes(b'broken')
    (deep / 'clip.mp4').touch()
    images_json = tmp_path / 'images.json'
    assert detect(detector_files, deep.parent, deep, 'gone.jpg',
                  '--images-json', images_json, '-o',
                  tmp_path / 'boxes.json') == 1
    errors = capsys.readouterr().err
    for problem in (f'{deep}/2.jpg: OpenCV cannot decode',
                    f'{deep}/clip.mp4: is not a picture', 'gone.jpg: no such',
                    '2 images', '3 failed'):
        assert problem in errors
    images = json.loads(images_json.read_text())
    assert images['images'] == [
        dict(id=1, file_name='1.png', width=320, height=240),
        dict(id=2, file_name='deep/1.jpg', width=320, height=240)
    ]
    dataset = read_dataset(tmp_path, deep.parent, images_json,
                           [dict(type='LoadImage')])
    assert {person['img_id'] for person in dataset} == {1, 2}
    assert dataset.metainfo['CLASSES'][0]['name'] == 'person'


def test_wrong_arguments(detector_files, data, tmp_path, capsys):
    out = ('-o', tmp_path / 'boxes.json')
    ann_file = ('--ann-file',
                data / 'annotations/person_keypoints_val2017.json')
    image = data / 'val2017/000000000001.jpg'
    for args, message in (
        (['gone', *out], 'no pictures: gone: no such file'),
        ([image, '-o', tmp_path / 'gone/boxes.json'], 'no folder'),
        ([image, '-o', image], 'is read, and a result would replace it'),
        ([image, *out, *ann_file, '--images-json', 'i.json'], 'leave out'),
        ([image, *out, '--det-cat-ids', 5], "1: 'person'"),
        ([image, *out, '--device', 'gpu'], 'the device gpu cannot be used: '),
    ):
        assert detect(detector_files, *args) == 1
        error, = capsys.readouterr().err.strip().splitlines()[-1:]
        assert error.startswith('lgm-pose detect: ') and message in error
    assert not list(tmp_path.iterdir())


def test_needs_no_tqdm(detector_files, data, tmp_path, capsys, monkeypatch):
    """MMPose does not bring it."""
    monkeypatch.setitem(sys.modules, 'tqdm', None)
    try:
        importlib.reload(progress)
        assert detect(detector_files, data / 'val2017', 'gone.jpg', '-o',
                      tmp_path / 'boxes.json') == 1
    finally:
        monkeypatch.undo()
        importlib.reload(progress)
    errors = capsys.readouterr().err
    assert 'gone.jpg: no such' in errors and '3 images' in errors
    assert json.loads((tmp_path / 'boxes.json').read_text())


def test_an_image_that_the_annotations_lack(detector_files, data, tmp_path,
                                            capsys):
    other = tmp_path / 'other.jpg'
    other.write_bytes((data / 'val2017/000000000001.jpg').read_bytes())
    assert detect(detector_files, other, data / 'val2017/000000000002.jpg',
                  '--ann-file',
                  data / 'annotations/person_keypoints_val2017.json', '-o',
                  tmp_path / 'boxes.json') == 1
    assert f'{other}: no images of' in capsys.readouterr().err
    boxes = json.loads((tmp_path / 'boxes.json').read_text())
    assert {box['image_id'] for box in boxes} == {2}


def test_an_image_that_the_detector_cannot_take(detector_files, data, tmp_path,
                                                capsys):
    """Resized to the detector's size it has no rows."""
    thin = tmp_path / 'thin.png'
    assert cv2.imwrite(str(thin), np.zeros((1, 4000, 3), np.uint8))
    assert detect(detector_files, thin, data / 'val2017', '-o',
                  tmp_path / 'boxes.json') == 1
    errors = capsys.readouterr().err
    assert f'{thin}: ' in errors and '3 images' in errors
    assert json.loads((tmp_path / 'boxes.json').read_text())
