import numpy as np
import pytest
from mmpose.codecs import UDPHeatmap
from mmpose.registry import KEYPOINT_CODECS

import lgm_pose_plugin  # noqa: F401

SIZES = dict(input_size=(192, 256), heatmap_size=(48, 64))


@pytest.fixture
def codec():
    return KEYPOINT_CODECS.build(dict(type='SoftmaxUDPHeatmap', **SIZES))


@pytest.fixture
def keypoints():
    rng = np.random.default_rng(0)
    return rng.uniform((20, 20), (170, 230), (1, 17, 2)).astype(np.float32)


def test_targets_are_those_of_udp(codec, keypoints):
    visible = np.ones((1, 17), np.float32)
    encoded = codec.encode(keypoints, visible)
    expected = UDPHeatmap(**SIZES).encode(keypoints, visible)
    for name in ('heatmaps', 'keypoint_weights'):
        np.testing.assert_array_equal(encoded[name], expected[name])


@pytest.mark.promise('cross-entropy')
@pytest.mark.parametrize('offset', [-1e3, 0, 1e3])
def test_round_trip(codec, keypoints, offset):
    """Logits that are the targets' logarithm decode to the key points."""
    heatmaps = codec.encode(keypoints, np.ones((1, 17), np.float32))
    logits = np.log(heatmaps['heatmaps'].clip(1e-12)) + np.float32(offset)
    before = logits.copy()
    decoded, scores = codec.decode(logits)
    assert decoded.shape == (1, 17, 2) and scores.shape == (1, 17)
    np.testing.assert_array_equal(logits, before)
    # MMPose decodes with W where it encodes with W - 1.
    np.testing.assert_allclose(
        decoded * [191 / 192, 255 / 256], keypoints, atol=0.05)
    np.testing.assert_allclose(scores, 1, atol=0.05)


def test_unsure(codec):
    """Scores fall with the probability at the maximum."""
    logits = np.zeros((2, 64, 48), np.float32)
    logits[0, 20, 10] = logits[1, 20, 10] = 20
    logits[1, 40, 30] = 19
    decoded, scores = codec.decode(logits)
    np.testing.assert_allclose(decoded[0, :, 0], 10 / 47 * 192, atol=2)
    odds = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(
        scores[0], [codec.mass, codec.mass * odds], rtol=1e-3)


def test_kernel():
    codec = KEYPOINT_CODECS.build(
        dict(type='SoftmaxUDPHeatmap', **SIZES, blur_kernel_size=7))
    assert codec.blur_kernel_size == 7


def test_maximum_of_the_blurred_map(codec):
    """A wide hill is where the key point is, not a pixel beside it."""
    y, x = np.mgrid[:64, :48]
    hill = np.exp(-((x - 20.3)**2 + (y - 30.6)**2) / 18)
    hill[30, 40] = 1.2
    decoded, scores = codec.decode(np.log(hill.clip(1e-9))[None])
    np.testing.assert_allclose(
        decoded[0, 0], [20.3 / 47 * 192, 30.6 / 63 * 256], atol=0.5)
    np.testing.assert_allclose(scores, 1.2 * codec.mass / hill.sum())


def test_no_point_is_thrown_out(codec, ridges):
    decoded, _ = codec.decode(ridges)
    pixels = decoded / (192 / 47, 256 / 63)
    assert np.abs(pixels - (24, 32)).max() < 4
