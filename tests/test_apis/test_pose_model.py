"""A checkpoint called as an exported file is."""
import numpy as np
import pytest
from mmpose.apis import inference_topdown

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
            cfg_options={
                'model.test_cfg.flip_test': flip_test
            }).predict_batch([image], [BOXES])[0][1]
        for flip_test in (False, True))
    assert plain.shape == flipped.shape and (plain != flipped).any()


@pytest.mark.promise('predict-batches')
def test_batches_are_what_mmpose_finds(small_network):
    config, _, checkpoint = small_network('udp')
    network = PoseModel(config, checkpoint, 'cpu')
    images = [
        render_image(np.random.default_rng(i), (120, 100))[0] for i in range(3)
    ]
    boxes = [np.float32([[10, 10, 90, 110], [0, 0, 60, 80]]), [], BOXES]
    found = network.predict_batch(images, boxes)
    assert [len(keypoints) for keypoints, _ in found] == [2, 0, 1]
    for i in (0, 2):
        wanted = [
            one.pred_instances
            for one in inference_topdown(network.model, images[i], boxes[i])
        ]
        for j, key in enumerate(('keypoints', 'keypoint_scores')):
            np.testing.assert_allclose(
                found[i][j],
                np.concatenate([one[key] for one in wanted]),
                atol=(.05, 1e-4)[j])
