import math

import pytest
import torch

from lgm_pose_plugin.models.heads import TokenPoseHead
from lgm_pose_plugin.models.heads.tokenpose_head import sine_positions


@pytest.fixture
def head():

    def head(**kwargs):
        return TokenPoseHead(
            6, 5, **{
                **dict(
                    in_featuremap_size=(12, 16),
                    embed_dims=24,
                    num_layers=3,
                    num_heads=4),
                **kwargs
            })

    return head


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('kwargs, size', [
    ({}, (16, 12)),
    (dict(in_featuremap_size=(18, 24), patch_size=(6, 4)), (24, 18)),
])
def test_forward(head, kwargs, size, training):
    out = head(**kwargs).train(training)([torch.randn(2, 6, *size)])
    assert out.shape == (2, 5, *size) and out.isfinite().all()


def test_positions_are_detrs():
    """Written as in DETR's PositionEmbeddingSine."""
    ones = torch.ones(1, 4, 3)
    y, x = ones.cumsum(1), ones.cumsum(2)
    y = y / (y[:, -1:] + 1e-6) * 2 * math.pi
    x = x / (x[:, :, -1:] + 1e-6) * 2 * math.pi
    power = torch.arange(8.)
    power = 10000**(2 * torch.div(power, 2, rounding_mode='floor') / 8)
    codes = []
    for angles in (y[..., None] / power, x[..., None] / power):
        codes.append(
            torch.stack((angles[..., ::2].sin(), angles[..., 1::2].cos()),
                        4).flatten(3))
    expected = torch.cat(codes, 3).reshape(12, 16)
    torch.testing.assert_close(
        sine_positions(4, 3, 16), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_is_what_it_says(randomize, head):
    head = randomize(head()).eval()
    x, net = torch.randn(1, 6, 16, 12), head.conv_layers
    patches = torch.stack([
        net.embed(x[0, :, 4 * row:4 * row + 4,
                    3 * column:3 * column + 3].permute(1, 2, 0).flatten())
        for row in range(4) for column in range(4)
    ])
    tokens = torch.cat((net.tokens[0], patches))
    for layer in net.layers:
        tokens[5:] += sine_positions(4, 4, 24)
        tokens = layer(tokens[None])[0]
    expected = net.to_heatmaps(tokens[:5]).reshape(1, 5, 16, 12)
    torch.testing.assert_close(head([x]), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('kwargs, match', [
    (dict(in_featuremap_size=(13, 16)), r'\(13, 16\) must be a multiple'),
    (dict(embed_dims=18), 'embed_dims must be a multiple of 4, got 18'),
    (dict(num_heads=5), '24 must be a multiple of 5'),
])
def test_wrong_arguments(head, kwargs, match):
    with pytest.raises(ValueError, match=match):
        head(**kwargs)


def test_map_of_another_size(head):
    with pytest.raises(ValueError, match='maps of 16x12, got 12x16'):
        head()([torch.randn(1, 6, 12, 16)])


def test_init_weights(head):
    head = head()
    head.init_weights()
    for layer in (head.conv_layers.tokens, head.conv_layers.embed.weight):
        assert .01 < layer.std() < .03


def test_gradients(check_gradients, head):
    # The last layer's patches are not looked at, but its keys and values are.
    check_gradients(head().conv_layers, torch.randn(2, 6, 16, 12))


def test_exports(check_exports, head):
    check_exports(head().conv_layers, (6, 16, 12))
