"""Predicting pictures and videos."""
import cv2
import numpy as np
import pytest

from lgm_pose_plugin.apis.coco_files import Boxes, ImageIds
from lgm_pose_plugin.apis.predictor import (Follower, People, Predictor,
                                            boxes_of_keypoints, look_twice,
                                            whole_image, windows)
from lgm_pose_plugin.apis.sources import find_sources
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.utils.progress import Progress

IMAGE = np.zeros((240, 320, 3), np.uint8)


def network(image, boxes):
    """The corners of a box that is 0.8 times as large, and its middle."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    shares = np.array([[0.1, 0.1], [0.9, 0.9], [0.5, 0.5]])
    keypoints = low + (high - low) * shares
    return keypoints.astype(np.float32), np.full((len(boxes), 3), 0.9)


def test_whole_image():
    people = whole_image(IMAGE, '')
    assert people.boxes.tolist() == [[0, 0, 320, 240]]
    assert people.scores.tolist() == [1]


@pytest.mark.promise('predict-finds-people')
def test_the_second_pass_sees_the_person_alone():
    """The crop whose key points score highest tells where the person is."""
    person = np.array([240, 40, 300, 220])

    def network(image, boxes):
        # Confident where the crop's height is that of the person.
        heights = boxes[:, 3] - boxes[:, 1]
        inside = (boxes[:, 0] < person[0]) & (person[2] < boxes[:, 2])
        scores = np.where(inside, 100 / heights, .31)
        corners = np.tile(person.reshape(2, 2), (len(boxes), 1, 1))
        return corners.astype(np.float32), np.tile(scores[:, None], (1, 2))

    found = look_twice(network)(IMAGE, '')
    assert found.boxes.shape == (1, 4) and found.scores.tolist() == [1]
    np.testing.assert_allclose(found.boxes[0], [231, 22, 309, 238], atol=1e-3)

    def nobody(image, boxes):
        return network(image, boxes)[0], np.full((len(boxes), 2), 0.1)

    assert look_twice(nobody)(IMAGE, '').boxes.tolist() == [[0, 0, 320, 240]]


@pytest.mark.parametrize('size, count', [((640, 480), 3), ((480, 640), 1),
                                         ((300, 900), 4), ((9000, 20), 16)])
def test_windows_cover_the_image(size, count):
    """With the padding that networks add, and a half in common."""
    boxes = windows(*size)
    assert len(boxes) == count
    centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.diff(
        boxes.reshape(-1, 2, 2), axis=1)[:, 0] * 1.25
    np.testing.assert_allclose(sides[:, 0] / sides[:, 1], 3 / 4, rtol=1e-4)
    low, high = centers - sides / 2, centers + sides / 2
    np.testing.assert_allclose(low[0], 0, atol=1e-3)
    np.testing.assert_allclose(high[-1], size, rtol=1e-4)
    if count < 16:
        steps = np.diff(centers, axis=0)
        assert (steps <= sides[1:] / 2 + 1e-3).all()


def test_boxes_of_key_points_are_about_those_of_people():
    ratios = []
    for seed in range(20):
        for person in render_image(np.random.default_rng(seed))[1]:
            points = np.reshape(person['keypoints'], (1, 17, 3))
            if (points[..., 2] > 0).all():
                found = boxes_of_keypoints(
                    People(None, np.ones(1), points[..., :2], points[..., 2]),
                    IMAGE)
                ratios.append((found.boxes[0, 2:] - found.boxes[0, :2]) /
                              person['bbox'][2:])
    assert len(ratios) > 10
    np.testing.assert_allclose(np.median(ratios, 0), 1, atol=0.25)


def test_boxes_of_key_points_need_two_of_them():
    points = np.array([[[10., 20], [30, 60], [0, 0]]] * 3)
    scores = np.array([[.9, .9, .1], [.9, .1, .1], [.1, .1, .1]])
    found = boxes_of_keypoints(
        People(None, np.array([.5, .6, .7]), points, scores), IMAGE)
    np.testing.assert_allclose(
        found.boxes, [[20 - 13, 40 - 24, 20 + 13, 40 + 24]], rtol=1e-6)
    assert found.scores == pytest.approx([.5])


def test_detects_on_every_nth_frame_and_when_nobody_is_there():
    calls = []

    def find_people(image, path):
        calls.append(int(image[0, 0, 0]))
        there = calls[-1] not in (0, 1)
        return Boxes(
            np.float32([[50, 60, 150, 220]] * there).reshape(-1, 4),
            np.float32([.8] * there))

    follow = Follower(Predictor(network, find_people, find_every=5))
    found = [follow(np.full_like(IMAGE, i), i / 25, '') for i in range(12)]
    assert calls == [0, 1, 2, 5, 10]
    assert [len(people.boxes) for people in found] == [0, 0] + [1] * 10
    assert found[3].box_scores == pytest.approx([.8])
    middle = [100, 140]
    np.testing.assert_allclose(found[3].keypoints[0, 2], middle, atol=1e-3)
    assert found[3].track_ids is None


@pytest.mark.promise('fuzz')
def test_boxes_that_run_away_are_dropped():
    """Else they grow until they are no numbers any more."""

    def corners(image, boxes):
        found = boxes.reshape(-1, 2, 2)
        return found * 3, np.ones(found.shape[:2])

    calls = []

    def find_people(image, path):
        calls.append(len(calls))
        return Boxes(np.float32([[50, 60, 150, 220]]), np.float32([.8]))

    follow = Follower(Predictor(corners, find_people, find_every=10**6))
    sizes = [
        np.ptp(people.boxes.reshape(-1, 2, 2), 1).max(initial=0)
        for people in (follow(IMAGE, i / 25, '') for i in range(100))
    ]
    assert 200 < max(sizes) <= 4 * 320 and min(sizes) > 0
    assert 10 < len(calls) <= 50


@pytest.mark.parametrize('number', [1, 3])
def test_weak_people_are_detected_instead(number):
    """In the same frame, also if others can be followed."""

    def one_is_weak(image, boxes):
        points, scores = network(image, boxes)
        scores[0, 1:] = .1
        return points[:, :number], scores[:, :number]

    calls = []

    def find_people(image, path):
        calls.append(path)
        return Boxes(
            np.float32([[10, 10, 60, 90], [90, 10, 160, 90]]),
            np.float32([.9, .8]))

    follow = Follower(Predictor(one_is_weak, find_people, find_every=5))
    found = [len(follow(IMAGE, i / 25, 'a.mp4').boxes) for i in range(15)]
    assert found == [2] * 15 and calls == ['a.mp4'] * 15


@pytest.mark.parametrize('smooth', [False, True])
def test_tracks_and_smooths(smooth):
    pytest.importorskip('trackers')
    rng = np.random.default_rng(0)

    def find_people(image, path):
        boxes = np.float32([[20, 30, 100, 200], [180, 30, 260, 200]])
        order = rng.permutation(2)
        shift = rng.normal(0, 2, (2, 1)).astype(np.float32)
        return Boxes(boxes[order] + shift, np.float32([.8, .9]))

    follow = Follower(
        Predictor(network, find_people, track=True, smooth=smooth))
    tracks = {}
    for i in range(60):
        people = follow(IMAGE, i / 25, '')
        for number, points in zip(people.track_ids.tolist(), people.keypoints):
            tracks.setdefault(number, []).append(points[2])
    assert {
        number: len(points)
        for number, points in tracks.items()
    } == {
        -1: 2,
        0: 59,
        1: 59
    }
    for number in (0, 1):
        jitter = np.std(tracks[number][20:], 0)
        assert (jitter < 1.4).all() if smooth else (jitter > 1.4).all()


def test_what_a_network_raises_is_one_failure(tmp_path, capsys):
    sources = []
    for name in ('wide.png', 'small.png'):
        image = np.zeros((8, 16 if name == 'wide.png' else 8, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / name), image)
        sources += find_sources([str(tmp_path / name)])[0]

    def no_memory(image, boxes):
        if image.shape[1] == 16:
            raise RuntimeError('out of memory')
        return network(image, boxes)

    predictor = Predictor(no_memory, whole_image, str(tmp_path / 'out'))
    with Progress(2) as progress:
        predictor.run(sources, progress)
    assert progress.exit_status() == 1
    assert 'wide.png: out of memory' in capsys.readouterr().err
    assert [path.name
            for path in (tmp_path / 'out').rglob('*.json')] == ['small.json']


def test_instances():
    people = People(
        np.float32([[1, 2, 3, 4]]), np.float32([.5]),
        np.float32([[[1, 2], [3, 4]]]), np.float32([[.25, .75]]))
    expected = dict(
        keypoints=[[1, 2], [3, 4]],
        keypoint_scores=[.25, .75],
        bbox=[[1, 2, 3, 4]],
        bbox_score=.5)
    assert people.instances() == [expected]
    tracked = people._replace(track_ids=np.array([3]))
    assert tracked.instances() == [dict(expected, track_id=3)]


@pytest.mark.parametrize('box, expected', [
    ((-50, 10, -1, 90), False),
    ((0, -30, 50, -1), False),
    ((201, 0, 260, 50), False),
    ((0, 101, 50, 160), False),
    ((150, 10, 260, 90), True),
    ((10, -9, 60, 9), True),
    ((-300, 0, 499, 50), True),
    ((-300, 0, 501, 50), False),
    ((0, -150, 50, 249), True),
    ((0, -150, 50, 251), False),
])
def test_boxes_that_run_away_are_left_out(box, expected):
    corners = np.reshape(box, (2, 2))
    points = corners.mean(0) + (corners - corners.mean(0)) / (1.3, 1.2)
    found = boxes_of_keypoints(
        People(None, np.ones(1), points[None], np.ones((1, 2))),
        np.zeros((100, 200, 3), np.uint8))
    assert len(found.boxes) == len(found.scores) == expected


def test_image_id_0(tmp_path):
    assert cv2.imwrite(str(tmp_path / 'a.png'), IMAGE)
    ids = ImageIds(dict(images=[dict(id=0, file_name='a.png')]), 'it')
    predictor = Predictor(network, whole_image, image_ids=ids)
    with Progress(1) as progress:
        predictor.run(find_sources([str(tmp_path / 'a.png')])[0], progress)
    assert [one['image_id'] for one in predictor.results] == [0]
