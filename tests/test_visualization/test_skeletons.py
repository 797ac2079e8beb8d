"""Skeletons in images."""
import numpy as np
import pytest

pytest.importorskip('supervision')
from lgm_pose_plugin.visualization.skeletons import Drawer  # noqa: E402

IMAGE = np.zeros((120, 240, 3), np.uint8)
BOXES = np.array([[10., 10, 90, 110], [130, 10, 210, 110]])
# Of each person an upper and a lower key point and one in the corner.
KEYPOINTS = np.array([[[50., 30], [50, 90], [80, 100]],
                      [[170, 30], [170, 90], [200, 100]]])
SCORES = np.array([[.9, .9, .2]] * 2)


def draw(**kwargs):
    drawn = Drawer([(0, 1), (1, 2)], **kwargs).draw(IMAGE, BOXES, KEYPOINTS,
                                                    SCORES)
    assert not IMAGE.any()
    return drawn


def test_people_have_colours_of_their_own():
    drawn = draw()
    first, second = drawn[60, 50], drawn[60, 170]  # in the middle of an edge
    assert first.any() and second.any() and (first != second).any()
    assert not drawn[60, [30, 70, 190]].any()


@pytest.mark.parametrize('score_thr, is_drawn', [(.3, False), (.1, True)])
def test_key_points_with_low_scores_are_left_out(score_thr, is_drawn):
    drawn = draw(score_thr=score_thr)
    assert drawn[95:105, 75:85].any() == is_drawn
    assert drawn[25:35, 45:55].any() and not drawn[:10, :10].any()


@pytest.mark.parametrize('draw_boxes', [False, True])
def test_boxes(draw_boxes):
    drawn = draw(draw_boxes=draw_boxes)
    for left in (10, 130):
        assert drawn[20:100, left].any(1).all() == draw_boxes
        assert drawn[20:100, left].any() == draw_boxes


def test_tracks_choose_colours_and_are_written():

    def draw(order, ids):
        return Drawer([(0, 1)]).draw(IMAGE, BOXES[order], KEYPOINTS[order],
                                     SCORES[order], np.array(ids))

    drawn = draw([0, 1], [3, 7])
    np.testing.assert_array_equal(draw([1, 0], [7, 3]), drawn)
    assert (drawn != draw([0, 1], [3, 8]))[:30, 130:].any()
    without = draw([0, 1], [-1, 7])
    assert not without[:20, :90].any() and without[:20, 130:].any()


def test_key_points_without_a_skeleton_are_drawn_alone(caplog):
    """Also 17 of them, for which supervision has COCO's."""
    points = np.stack([10. + 12 * np.arange(17), np.full(17, 50.)], 1)
    drawn = Drawer([]).draw(IMAGE, BOXES[:1], points[None], np.ones((1, 17)))
    assert all(drawn[50, int(x)].any() for x, _ in points)
    assert not drawn[50, 16].any() and not caplog.records
