"""Results of people, which are whole or not there."""
import json
import os

import cv2
import numpy as np
import pytest

from lgm_pose_plugin.apis.coco_files import ImageIds
from lgm_pose_plugin.apis.results import (CocoAnnotations, CocoResults,
                                          PoseResult, picture_name,
                                          write_image)
from lgm_pose_plugin.apis.sources import Source


def pictures(number, people):
    """Results of pictures called 0.png, 1.png and so on."""
    ids = ImageIds(
        dict(images=[dict(id=i, file_name=f'{i}.png') for i in range(number)]),
        'the test')
    results = [
        PoseResult(
            Source('image', f'{i}.png', f'{i}.png'), None, i / 30, 30., i,
            np.zeros((40, 60, 3), np.uint8),
            np.tile([5., 5, 30, 35], (people, 1)), np.ones(people),
            np.full((people, 2, 2), 9.), np.full((people, 2), .5))
        for i in range(number)
    ]
    return ids, results


@pytest.fixture(params=['results', 'annotations'])
def coco_file(request, tmp_path):
    """Write a file of COCO's; where it goes, and what holds the people."""

    def make(ids):
        path = str(tmp_path / 'a.json')
        if request.param == 'results':
            return CocoResults(path, ids), lambda data: data
        return CocoAnnotations(path, ids, '.', ['a', 'b'], [(0, 1)],
                               .3), lambda data: data['annotations']

    return make


@pytest.mark.parametrize('people', [0, 2])
def test_files_of_coco(tmp_path, coco_file, people):
    """Written as the run goes; an id may be 0, and there may be nobody."""
    ids, results = pictures(3, people)
    writer, people_of = coco_file(ids)
    for result in results:
        writer(result)
    assert not (tmp_path / 'a.json').exists()
    writer.close()
    data = json.loads((tmp_path / 'a.json').read_text())
    assert [one['image_id'] for one in people_of(data)
            ] == [i for i in range(3) for _ in range(people)]
    if isinstance(data, dict):
        assert [one['id'] for one in data['images']] == [0, 1, 2]
        assert data['categories'][0]['skeleton'] == [[1, 2]]
    assert os.listdir(tmp_path) == ['a.json']


@pytest.mark.promise('full-disk')
def test_full_disks_keep_files_of_coco(tmp_path, full_disk, coco_file):
    (tmp_path / 'a.json').write_text('old')
    ids, results = pictures(100, 20)
    writer, _ = coco_file(ids)
    with full_disk(), pytest.raises(OSError, match='a.json could not be wri'):
        for result in results:
            writer(result)
    # Nor with what follows, when there is space again.
    with pytest.raises(OSError, match='a.json could not be written whole'):
        writer(results[-1])
    writer.close()
    assert (tmp_path / 'a.json').read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.json']


@pytest.mark.promise('full-disk')
def test_full_disks_keep_pictures(tmp_path, full_disk):
    path = str(tmp_path / 'a.png')
    write_image(path, np.zeros((2, 3, 3), np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (83, 83, 3), np.uint8)
    assert 20000 < cv2.imencode('.png', noise)[1].size < 24000
    with full_disk(), pytest.raises(OSError):
        write_image(path, noise)
    assert cv2.imread(path).shape == (2, 3, 3)
    assert os.listdir(tmp_path) == ['a.png']


def test_image(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_image(str(tmp_path / 'folder' / 'a.png'), image)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / 'folder' / 'a.png')), image)
    assert os.listdir(tmp_path / 'folder') == ['a.png']


def test_picture_names():
    assert picture_name('a/b.PNG') == 'a/b.PNG'
    assert picture_name('a/b.jfif') == 'a/b.jpg'
    assert picture_name('a.b/c') == 'a.b/c.jpg'
