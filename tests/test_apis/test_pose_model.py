"""A checkpoint called as an exported file is."""
import numpy as np

from lgm_pose_plugin.apis.pose_model import PoseModel
from lgm_pose_plugin.datasets.rendered.scene import render_image

BOXES = np.float32([[10, 10, 90, 110]])


def test_flip_test_is_the_configs(small_network):
    config, _, checkpoint = small_network('udp')
    image = render_image(np.random.default_rng(0), (120, 100))[0]
    plain, flipped = (
        PoseModel(
            config,
            checkpoint,
            cfg_options={'model.test_cfg.flip_test': flip_test})(image,
                                                                 BOXES)[1]
        for flip_test in (False, True))
    assert plain.shape == flipped.shape and (plain != flipped).any()
