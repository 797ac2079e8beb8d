"""Who is who in a video, and smooth key points."""
from itertools import count

import numpy as np
import pytest

from lgm_pose_plugin.apis.tracking import LOST_SECONDS, Smoother, Tracker

pytest.importorskip('trackers')
FPS = 25


def walk(frame):
    """Two people who pass each other in different heights."""
    left = 10 + 4 * frame
    right = 210 - 4 * frame
    return np.float32([[left, 10, left + 40, 110],
                       [right, 90, right + 40, 190]])


@pytest.mark.promise('tracking')
def test_ids_stay_with_people():
    tracker = Tracker()
    scores = np.float32([0.9, 0.8])
    first = tracker.update(0, walk(0), scores)
    assert first.tolist() == [-1, -1]  # confirmed by the second frame
    ids = tracker.update(1 / FPS, walk(1), scores)
    assert len(set(ids)) == 2 and (ids >= 0).all()
    for frame in range(2, 50):
        order = [1, 0] if frame % 2 else [0, 1]
        found = tracker.update(frame / FPS, walk(frame)[order], scores[order])
        assert found.tolist() == ids[order].tolist()


def test_weak_boxes_keep_a_track_and_start_none():
    tracker = Tracker()
    for frame in range(3):
        ids = tracker.update(frame / FPS, walk(frame), np.float32([.9, .2]))
    assert ids[0] >= 0 and ids[1] == -1
    found = tracker.update(3 / FPS, walk(3), np.float32([.2, .2]))
    assert found.tolist() == [ids[0], -1]


def test_nobody_and_back():
    tracker = Tracker()
    nobody = np.empty((0, 4), np.float32), np.empty(0, np.float32)
    assert tracker.update(0, *nobody).shape == (0, )
    scores = np.float32([0.9, 0.9])
    for frame in range(4):
        ids = tracker.update((frame + 1) / FPS, walk(frame), scores)
    assert tracker.update(5 / FPS, *nobody).shape == (0, )
    found = tracker.update(6 / FPS, walk(4), scores)
    assert found.tolist() == ids.tolist()


BOX = np.float32([[0, 0, 100, 300]])


def smoothed(smoother, points, number=0, start=0.):
    return np.array([
        smoother.smooth(start + i / FPS, np.array([number]), BOX, one[None])[0]
        for i, one in enumerate(points)
    ])


@pytest.mark.promise('tracking')
def test_jitter_is_halved_and_motion_is_followed():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (400, 17, 2))
    rest = smoothed(Smoother(), 100 + noise)
    assert rest[50:].std() < 0.6 * noise[50:].std()
    assert abs(rest[50:].mean() - 100) < 0.5
    # 300 pixels per second: one box height
    line = (300 / FPS * np.arange(100))[:, None, None] + np.zeros((17, 2))
    assert np.abs(smoothed(Smoother(), line) - line)[20:].max() < 12


def test_the_strength_is_by_the_time_stamps():
    """Half the frames, at half the rate, are smoothed as much."""
    noise = np.random.default_rng(0).normal(0, 3, (400, 1, 2))

    def rest(fps):
        smoother = Smoother()
        return np.std([
            smoother.smooth(i / fps, np.array([0]), BOX, 100 + one[None])
            for i, one in enumerate(noise)
        ][50:])

    assert rest(100) < .8 * rest(25) < .8 * rest(5)


def test_each_track_and_coordinate_on_its_own():
    smoother = Smoother()
    points = np.array([[[10., 20.], [30., 40.]], [[500., 60.], [70., 80.]]])
    ids = np.array([4, 9])
    boxes = np.repeat(BOX, 2, 0)
    for i in range(5):
        order = [1, 0] if i % 2 else [0, 1]
        found = smoother.smooth(i / FPS, ids[order], boxes, points[order])
        np.testing.assert_allclose(found, points[order])


def test_no_track_is_not_smoothed_and_a_lost_one_starts_anew():
    points = np.array([[[0., 0.]], [[100., 100.]]])
    smoother = Smoother()
    np.testing.assert_array_equal(smoothed(smoother, points, -1), points)
    first, second = smoothed(smoother, points, 0)
    assert 0 < second[0, 0] < 100
    again = smoothed(smoother, points[1:] * 3, 0, LOST_SECONDS + 1)
    np.testing.assert_array_equal(again, points[1:] * 3)


@pytest.mark.parametrize('seconds, kept', [(.8, True), (1.4, False)])
@pytest.mark.parametrize('fps', [10, 25, 60])
def test_lost_people_are_waited_for(fps, seconds, kept):
    tracker = Tracker()
    person = np.float32([[10, 10, 50, 110]]), np.float32([.9])
    nobody = np.empty((0, 4), np.float32), np.empty(0, np.float32)
    frame = count()
    for _ in range(4):
        number, = tracker.update(next(frame) / fps, *person)
    for _ in range(round(seconds * fps)):
        tracker.update(next(frame) / fps, *nobody)
    again = [tracker.update(next(frame) / fps, *person)[0] for _ in range(3)]
    assert number >= 0 and (number in again) is kept


def test_frames_that_are_far_apart():
    """As of a camera that takes a picture every ten seconds."""
    tracker = Tracker()
    person = np.float32([[10, 10, 50, 110]]), np.float32([.9])
    ids = [tracker.update(10 * i, *person)[0] for i in range(5)]
    assert ids == [-1, 0, 0, 0, 0]


def test_smoothing_waits_as_long():
    smoother, ids = Smoother(), np.array([0])
    box = np.float32([[0, 0, 100, 300]])
    smoother.smooth(0, ids, box, np.zeros((1, 1, 2)))
    later = smoother.smooth(.9 * LOST_SECONDS, ids, box,
                            np.full((1, 1, 2), 100.))
    assert (later < 100).all()
