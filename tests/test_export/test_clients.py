"""Exported files in programs of others."""
import numpy as np
import pytest

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.model_index import find_model, published_weights
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime

exporter = pytest.importorskip('lgm_pose_plugin.export.exporter')
pytestmark = pytest.mark.e2e

NAME = 'lgm-pose_body17-128x96'


def test_rtmlib(tmp_path):
    """Its ViTPose takes heat maps; it warps people without UDP's half pixel.

    Key points differ by it and by how the maps are refined, scores are those
    of the heat maps.
    """
    rtmlib = pytest.importorskip('rtmlib')
    config, weights = find_model(NAME)['Config'], published_weights(NAME)
    file, decoded = str(tmp_path / 'maps.onnx'), str(tmp_path / 'pose.onnx')
    exporter.export(
        config, weights, file, decode=False, normalize=False, samples=2)
    exporter.export(config, weights, decoded, samples=2)
    pose = rtmlib.ViTPose(file, model_input_size=(96, 128))
    image, (person, ) = render_image(np.random.default_rng(0), (320, 240), 1)
    left, top, width, height = person['bbox']
    boxes = [[left, top, left + width, top + height]]
    found, scores = pose(image[..., ::-1], boxes)
    expected, expected_scores = PoseRuntime(decoded)(image, boxes)
    assert 0 < scores.min() and scores.max() < 1.5
    np.testing.assert_allclose(scores, expected_scores, atol=0.2)
    distance = np.linalg.norm(found - expected, axis=2)
    assert np.median(distance) < 0.02 * height
