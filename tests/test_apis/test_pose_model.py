"""A checkpoint called as an exported file is."""
import numpy as np
import pytest

from lgm_pose_plugin.apis.pose_model import PoseModel
from lgm_pose_plugin.datasets.rendered.scene import render_image

BOXES = np.float32([[10, 10, 90, 110]])


@pytest.mark.parametrize('test_cfg, always', [
    (dict(flip_test=False), False),
    (None, False),
    (dict(flip_test=True), True),
])
def test_flip_test_is_for_one_call(small_network, test_cfg, always):
    config, _, checkpoint = small_network('udp')
    model = PoseModel(
        config, checkpoint, cfg_options={'model.test_cfg': test_cfg})
    image = render_image(np.random.default_rng(0), (120, 100))[0]
    plain, flipped, again = (
        model(image, BOXES, flip_test)[1]
        for flip_test in (False, True, False))
    np.testing.assert_array_equal(again, plain)
    assert np.array_equal(flipped, plain) is always
