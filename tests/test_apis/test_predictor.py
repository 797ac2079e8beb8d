"""Predicting pictures and videos."""
import numpy as np
import pytest

from lgm_pose_plugin.apis.coco_files import Boxes
from lgm_pose_plugin.apis.predictor import (Predictor, boxes_of_keypoints,
                                            look_twice, whole_image, windows)
from lgm_pose_plugin.apis.sources import find_sources
from lgm_pose_plugin.datasets.rendered.scene import render_image

IMAGE = np.zeros((240, 320, 3), np.uint8)


def of_each(function):
    """A network of a function of one image and its boxes."""
    return lambda images, boxes: [*map(function, images, boxes)]


@of_each
def network(image, boxes):
    """The corners of a box that is 0.8 times as large, and its middle."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    shares = np.array([[0.1, 0.1], [0.9, 0.9], [0.5, 0.5]])
    keypoints = low + (high - low) * shares
    return keypoints.astype(np.float32), np.full((len(boxes), 3), 0.9)


def predict(network, find_people, images, **options):
    """Predict arrays, which are the frames of a video."""
    predictor = Predictor(network, find_people, picture_fps=25, **options)
    return list(predictor.predict(find_sources(images)[0]))


def test_whole_image():
    people = whole_image(IMAGE)
    assert people.boxes.tolist() == [[0, 0, 320, 240]]
    assert people.scores.tolist() == [1]


@pytest.mark.promise('predict-finds-people')
def test_the_second_pass_sees_the_person_alone():
    """The crop whose key points score highest tells where the person is."""
    person = np.array([240, 40, 300, 220])

    @of_each
    def network(image, boxes):
        # Confident where the crop's height is that of the person.
        heights = boxes[:, 3] - boxes[:, 1]
        inside = (boxes[:, 0] < person[0]) & (person[2] < boxes[:, 2])
        scores = np.where(inside, 100 / heights, .31)
        corners = np.tile(person.reshape(2, 2), (len(boxes), 1, 1))
        return corners.astype(np.float32), np.tile(scores[:, None], (1, 2))

    found = look_twice(network)(IMAGE)
    assert found.boxes.shape == (1, 4) and found.scores.tolist() == [1]
    np.testing.assert_allclose(found.boxes[0], [231, 22, 309, 238], atol=1e-3)

    @of_each
    def nobody(image, boxes):
        return network([image], [boxes])[0][0], np.full((len(boxes), 2), 0.1)

    assert look_twice(nobody)(IMAGE).boxes.tolist() == [[0, 0, 320, 240]]


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
                found = boxes_of_keypoints(points[..., :2], points[..., 2],
                                           np.ones(1), IMAGE)
                ratios.append((found.boxes[0, 2:] - found.boxes[0, :2]) /
                              person['bbox'][2:])
    assert len(ratios) > 10
    np.testing.assert_allclose(np.median(ratios, 0), 1, atol=0.25)


def test_boxes_of_key_points_need_two_of_them():
    points = np.array([[[10., 20], [30, 60], [0, 0]]] * 3)
    scores = np.array([[.9, .9, .1], [.9, .1, .1], [.1, .1, .1]])
    found = boxes_of_keypoints(points, scores, np.array([.5, .6, .7]), IMAGE)
    np.testing.assert_allclose(
        found.boxes, [[20 - 13, 40 - 24, 20 + 13, 40 + 24]], rtol=1e-6)
    assert found.scores == pytest.approx([.5])


def test_detects_on_every_nth_frame_and_when_nobody_is_there():
    calls = []

    def find_people(frame):
        calls.append(int(frame.image[0, 0, 0]))
        there = calls[-1] not in (0, 1)
        return Boxes(
            np.float32([[50, 60, 150, 220]] * there).reshape(-1, 4),
            np.float32([.8] * there))

    found = predict(
        network,
        find_people, [np.full_like(IMAGE, i) for i in range(12)],
        find_every=5)
    assert calls == [0, 1, 2, 5, 10]
    assert [len(people.bboxes) for people in found] == [0, 0] + [1] * 10
    assert found[3].bbox_scores == pytest.approx([.8])
    middle = [100, 140]
    np.testing.assert_allclose(found[3].keypoints[0, 2], middle, atol=1e-3)
    assert found[3].track_ids is None


@pytest.mark.promise('fuzz')
def test_boxes_that_run_away_are_dropped():
    """Else they grow until they are no numbers any more."""

    @of_each
    def corners(image, boxes):
        found = boxes.reshape(-1, 2, 2)
        return found * 3, np.ones(found.shape[:2])

    calls = []

    def find_people(frame):
        calls.append(len(calls))
        return Boxes(np.float32([[50, 60, 150, 220]]), np.float32([.8]))

    sizes = [
        np.ptp(people.bboxes.reshape(-1, 2, 2), 1).max(initial=0)
        for people in predict(
            corners, find_people, [IMAGE] * 100, find_every=10**6)
    ]
    assert 200 < max(sizes) <= 4 * 320 and min(sizes) > 0
    assert 10 < len(calls) <= 50


@pytest.mark.parametrize('number', [1, 3])
def test_weak_people_are_detected_instead(number):
    """In the same frame, also if others can be followed."""

    @of_each
    def one_is_weak(image, boxes):
        (points, scores), = network([image], [boxes])
        scores[0, 1:] = .1
        return points[:, :number], scores[:, :number]

    calls = []

    def find_people(frame):
        calls.append(frame.index)
        return Boxes(
            np.float32([[10, 10, 60, 90], [90, 10, 160, 90]]),
            np.float32([.9, .8]))

    found = predict(one_is_weak, find_people, [IMAGE] * 15, find_every=5)
    assert [len(people.bboxes) for people in found] == [2] * 15
    assert calls == list(range(15))


@pytest.mark.parametrize('smooth', [False, True])
def test_tracks_and_smooths(smooth):
    pytest.importorskip('trackers')
    rng = np.random.default_rng(0)

    def find_people(frame):
        boxes = np.float32([[20, 30, 100, 200], [180, 30, 260, 200]])
        order = rng.permutation(2)
        shift = rng.normal(0, 2, (2, 1)).astype(np.float32)
        return Boxes(boxes[order] + shift, np.float32([.8, .9]))

    tracks = {}
    for people in predict(
            network, find_people, [IMAGE] * 60, track=True, smooth=smooth):
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
    found = boxes_of_keypoints(points[None], np.ones((1, 2)), np.ones(1),
                               np.zeros((100, 200, 3), np.uint8))
    assert len(found.boxes) == len(found.scores) == expected


def shaded(number):
    """Images that a network can tell apart."""
    return [np.full_like(IMAGE, i) for i in range(number)]


def two_people(frame):
    left = 10. + frame.index
    return Boxes(
        np.float32([[left, 20, left + 60, 200], [180, 30, 260, 200]]),
        np.float32([.9, .8]))


@pytest.mark.promise('predict-batches')
def test_frames_share_a_call_of_the_network():
    sizes = []

    def counted(images, boxes):
        sizes.append([len(some) for some in boxes])
        return network(images, boxes)

    plain = predict(network, two_people, shaded(7))
    found = predict(counted, two_people, shaded(7), batch_size=3)
    assert sizes == [[2, 2, 2], [2, 2, 2], [2]]
    for one, other in zip(found, plain):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        assert (one.index, one.seconds) == (other.index, other.seconds)
    # Frames whose boxes come from the frame before wait for it.
    sizes.clear()
    predict(counted, two_people, shaded(3), batch_size=3, find_every=2)
    assert sizes == [[2]] * 3


@pytest.mark.promise('failures-are-named')
@pytest.mark.parametrize('batch_size', [1, 4])
def test_what_fails_is_named_and_the_others_go_on(batch_size):

    @of_each
    def picky(image, boxes):
        if image[0, 0, 0] in (2, 5):
            raise RuntimeError('out of memory')
        return network([image], [boxes])[0]

    def find_people(frame):
        if frame.index == 3:
            raise ValueError('no such box')
        return two_people(frame)

    failed = []
    predictor = Predictor(picky, find_people, batch_size=batch_size)
    sources, _ = find_sources([*shaded(7), 'webcam:98'])
    found = list(
        predictor.predict(
            sources, lambda source, error: failed.append(
                (source.title, str(error).split(';')[0]))))
    assert [one.index for one in found] == [0, 1, 4, 6]
    assert failed == [('00000002.jpg', 'out of memory'),
                      ('00000003.jpg', 'no such box'),
                      ('00000005.jpg', 'out of memory'),
                      ('webcam:98', 'cannot open this camera')]
    with pytest.raises(ValueError, match='^00000002.jpg: out of memory$'):
        list(Predictor(picky, find_people).predict(sources))


class Endless:
    """A camera."""
    fps = 30.
    read = 0

    def __init__(self, source, timeout):
        pass

    def __iter__(self):
        while True:
            Endless.read += 1
            yield Endless.read / 30, IMAGE

    def close(self):
        pass


def test_the_taker_ends_a_camera(monkeypatch):
    """And frames that are under way are dropped."""
    monkeypatch.setattr('lgm_pose_plugin.apis.sources.Video', Endless)
    predictor = Predictor(network, two_people)
    sources, _ = find_sources(['webcam:0', IMAGE])
    taken = []
    for result in predictor.predict(sources):
        taken.append(result.frame_id)
        if result.frame_id == 9:
            predictor.skipped.add(result.source.name)
    assert taken == [*range(10), None]


def test_reads_no_more_than_is_asked_for(monkeypatch):
    monkeypatch.setattr('lgm_pose_plugin.apis.sources.Video', Endless)
    monkeypatch.setattr(Endless, 'read', 0)
    results = Predictor(network,
                        two_people).predict(find_sources(['webcam:0'])[0])
    assert Endless.read == 0
    next(results)
    results.close()
    assert 1 <= Endless.read < 20


def test_what_the_taker_changes_does_not_come_back():
    predictor = Predictor(
        network, two_people, find_every=10**6, picture_fps=25)
    found = []
    for result in predictor.predict(find_sources([IMAGE] * 30)[0]):
        found.append(result.bboxes.copy())
        result.keypoints[:] = result.bboxes[:] = 0
    assert all(np.ptp(boxes[0].reshape(2, 2), 0).min() > 20 for boxes in found)
