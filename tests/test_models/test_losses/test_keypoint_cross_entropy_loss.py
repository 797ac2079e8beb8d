import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from torch.nn.functional import cross_entropy

from lgm_pose_plugin.codecs import SoftmaxUDPHeatmap
from lgm_pose_plugin.models.losses import KeypointCrossEntropyLoss


def targets(rng, weights):
    codec = SoftmaxUDPHeatmap((96, 128), (24, 32), sigma=1.5)
    keypoints = rng.uniform((10, 10), (80, 110), (1, len(weights), 2))
    encoded = codec.encode(keypoints.astype(np.float32), weights[None])
    return torch.from_numpy(encoded['heatmaps'])[None]


def test_perfect_and_worse():
    target = targets(np.random.default_rng(0), np.ones(14, np.float32))
    loss = MODELS.build(dict(type='KeypointCrossEntropyLoss'))
    weights = torch.ones(1, 14)
    perfect = loss(target.clamp(min=1e-30).log() + 5, target, weights)
    assert perfect.item() == pytest.approx(0, abs=1e-4)
    uniform = loss(torch.zeros_like(target), target, weights)
    # log(768) less the entropy of the Gaussian, log(2 pi e 1.5^2)
    assert uniform.item() == pytest.approx(
        np.log(24 * 32 / (2 * np.pi * np.e * 1.5**2)), abs=0.05)


@pytest.mark.promise('cross-entropy')
def test_is_cross_entropy_for_a_single_pixel():
    output = torch.randn(2, 3, 8, 6)
    index = torch.tensor([[0, 7, 47], [1, 2, 3]])
    target = torch.nn.functional.one_hot(index, 48).view(2, 3, 8, 6).float()
    loss = KeypointCrossEntropyLoss()(output, 3 * target, torch.ones(2, 3))
    torch.testing.assert_close(
        loss, cross_entropy(output.flatten(2).flatten(0, 1), index.flatten()))


def test_weights():
    rng = np.random.default_rng(0)
    weights = np.array([1, 0, 1, 1], np.float32)
    target = targets(rng, weights)
    output = torch.randn(1, 4, 32, 24, requires_grad=True)
    loss = KeypointCrossEntropyLoss(loss_weight=2.)
    given = torch.tensor([[1., 1., 0., .5]])
    single = [
        KeypointCrossEntropyLoss()(output[:, [k]], target[:, [k]],
                                   torch.ones(1, 1)) for k in range(4)
    ]
    # The second has no target, the third no weight.
    expected = 2 * (single[0] + .5 * single[3]) / 1.5
    total = loss(output, target, given)
    torch.testing.assert_close(total, expected)
    total.backward()
    moved = output.grad.abs().flatten(2).sum(2)[0] > 0
    assert moved.tolist() == [True, False, False, True]
    unweighted = KeypointCrossEntropyLoss(use_target_weight=False)
    torch.testing.assert_close(
        unweighted(output, target),
        sum(single[k] for k in (0, 2, 3)) / 3)


def test_no_weights_are_equal_weights():
    output, target = torch.randn(2, 3, 8, 6), torch.rand(2, 3, 8, 6)
    loss = KeypointCrossEntropyLoss()
    expected = loss(output, target, torch.ones(2, 3))
    torch.testing.assert_close(loss(output, target), expected)
    torch.testing.assert_close(loss(output, target, None), expected)
    # It is a mean over the weights, however small they are.
    small = torch.full((2, 3), .01)
    torch.testing.assert_close(loss(output, target, small), expected)


def test_no_key_point():
    output = torch.randn(2, 3, 8, 6, requires_grad=True)
    loss = KeypointCrossEntropyLoss()(output, torch.zeros(2, 3, 8, 6),
                                      torch.zeros(2, 3))
    loss.backward()
    assert loss.item() == 0 and output.grad.abs().max() == 0


def test_maps_of_little_mass_count_as_much():
    output, target = torch.randn(2, 3, 8, 6), torch.rand(2, 3, 8, 6)
    loss = KeypointCrossEntropyLoss()
    torch.testing.assert_close(
        loss(output, target * 1e-3), loss(output, target))
