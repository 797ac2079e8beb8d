import numpy as np
import pytest
import torch
from mmpose.codecs import MSRAHeatmap, SimCCLabel

from lgm_pose_plugin.models.heads.simcc_decoder import SimCCDecoder


@pytest.mark.promise('deploy-mode')
@pytest.mark.parametrize('split_ratio', [2.0, 3.0])
def test_equals_codec(split_ratio):
    codec = SimCCLabel((192, 256), simcc_split_ratio=split_ratio)
    vectors = [
        torch.randn(5, 17, int(side * split_ratio)) for side in (192, 256)
    ]
    vectors[0][3] -= 10  # nothing above zero
    expected, expected_scores = codec.decode(*(v.numpy() for v in vectors))
    keypoints, scores = SimCCDecoder(codec)(*vectors)
    np.testing.assert_allclose(keypoints, expected, rtol=1e-6)
    np.testing.assert_array_equal(scores, expected_scores)
    assert keypoints.dtype == scores.dtype == torch.float32
    assert keypoints[3].unique().tolist() == pytest.approx([-1 / split_ratio])


def _decoding_visibility():
    codec = SimCCLabel((192, 256))
    codec.decode_visibility = True  # no argument yet in MMPose 1.1
    return codec


@pytest.mark.parametrize('codec', [
    SimCCLabel((192, 256), use_dark=True),
    _decoding_visibility(),
    MSRAHeatmap((192, 256), (48, 64), 2),
    None,
])
def test_unsupported_codec(codec):
    with pytest.raises(ValueError, match='for SimCCLabel without'):
        SimCCDecoder(codec)
