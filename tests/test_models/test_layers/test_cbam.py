from itertools import product

import pytest
import torch

from lgm_pose_plugin.models.layers import CBAM, ECACBAM

SIZES = [(1, 1), (4, 3), (5, 9)]


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def literal_mlp(mlp, vector):
    first, second = (mlp[i].weight[:, :, 0, 0] for i in (0, 2))
    return second @ (first @ vector).clamp(min=0)


def literal_channel_attention(cbam, x):
    out = []
    for maps in x:
        largest = torch.stack([channel.max() for channel in maps])
        mean = torch.stack([channel.mean() for channel in maps])
        weights = literal_mlp(cbam.channel_mlp, largest) + literal_mlp(
            cbam.channel_mlp, mean)
        out.append(maps * sigmoid(weights)[:, None, None])
    return torch.stack(out)


def literal_eca(eca, x):
    kernel = eca.conv.weight.flatten()
    pooled = x.mean((2, 3)) + x.flatten(2).max(2)[0]
    zeros = pooled.new_zeros(len(x), 3)
    pooled = torch.cat((zeros, pooled, zeros), 1)
    weights = sum(kernel[k] * pooled[:, k:k + x.shape[1]] for k in range(7))
    return x * sigmoid(weights)[:, :, None, None]


def literal_spatial_attention(spatial, x):
    """One pixel at a time."""
    kernel = spatial.conv.weight[0]
    height, width = x.shape[2:]
    out = torch.empty_like(x)
    for b, i, j in product(range(len(x)), range(height), range(width)):
        weight = torch.zeros_like(x[0, 0, 0, 0])
        for di, dj in product(range(-3, 4), range(-3, 4)):
            if 0 <= i + di < height and 0 <= j + dj < width:
                pixel = x[b, :, i + di, j + dj]
                factors = kernel[:, di + 3, dj + 3]
                weight += factors[0] * pixel.max() + factors[1] * pixel.mean()
        out[b, :, i, j] = x[b, :, i, j] * sigmoid(weight)
    return out


@pytest.mark.promise('papers-equations')
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('channels, reduction', [(12, 5), (33, 16)])
@torch.no_grad()
def test_cbam_equals_equation(randomize, channels, reduction, size):
    cbam = randomize(CBAM(channels, reduction)).double()
    x = torch.randn(2, channels, *size, dtype=torch.double)
    given = x.clone()
    expected = literal_channel_attention(cbam, x)
    expected = literal_spatial_attention(cbam.spatial, expected)
    torch.testing.assert_close(cbam(x), expected)
    assert torch.equal(x, given)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('channels', [1, 5])
@torch.no_grad()
def test_ecacbam_equals_equation(randomize, channels, size):
    layer = randomize(ECACBAM(channels)).double()
    x = torch.randn(2, channels, *size, dtype=torch.double)
    given = x.clone()
    expected = literal_eca(layer.channel, x)
    expected = literal_spatial_attention(layer.spatial, expected)
    torch.testing.assert_close(layer(x), expected)
    assert torch.equal(x, given)


@pytest.mark.parametrize('layer', [CBAM(16, 2), ECACBAM(16)])
def test_gradients(check_gradients, layer):
    # 7x7: every tap of the spatial kernel sees a pixel of the map
    check_gradients(layer, torch.randn(2, 16, 7, 8))


@pytest.mark.parametrize('layer', [CBAM(16, 4), ECACBAM(16)])
def test_trace_and_export(check_exports, layer):
    check_exports(layer, (16, 5, 7))


def test_narrower_than_reduction():
    layer = CBAM(8)
    assert layer.channel_mlp[0].weight.shape == (1, 8, 1, 1)
    assert layer(torch.randn(2, 8, 4, 3)).shape == (2, 8, 4, 3)
