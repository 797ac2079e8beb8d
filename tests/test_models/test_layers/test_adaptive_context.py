import pytest
import torch

from lgm_pose_plugin.models.layers import (DenseContextModeling,
                                           GlobalContextModeling)


@pytest.mark.promise('papers-equations')
@torch.no_grad()
def test_global_context_equals_equation(randomize):
    """The context is a mean of the pixels by the softmax of a 1x1 conv."""
    layer = randomize(GlobalContextModeling(8, 4)).double().eval()
    x = torch.randn(2, 8, 4, 3).double()
    weights = layer.conv_mask(x).exp()
    context = (x * weights).sum((2, 3), True) / weights.sum((2, 3), True)
    expected = layer.bn(x * layer.channel_attention(context))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.promise('papers-equations')
@torch.no_grad()
def test_dense_context_weights_all_branches(randomize):
    """Each branch is scaled by weights that all of the branches give."""
    layer = randomize(DenseContextModeling((8, 16), 4)).double().eval()
    maps = [
        torch.randn(2, 8, 4, 6).double(),
        torch.randn(2, 16, 2, 3).double()
    ]
    outs = layer(maps)
    ratios = [out / x for out, x in zip(outs, maps)]
    assert all(0 < ratio.min() and ratio.max() < 1 for ratio in ratios)
    # Nearest neighbour: one weight for the four pixels above one.
    blocks = ratios[0].unflatten(3, (3, 2)).unflatten(2, (2, 2))
    torch.testing.assert_close(blocks,
                               blocks[:, :, :, :1, :, :1].expand_as(blocks))
    for changed in (0, 1):
        others = [x + (i == changed) for i, x in enumerate(maps)]
        again = layer(others)[1 - changed]
        assert not torch.allclose(again, outs[1 - changed])


@torch.no_grad()
def test_dense_context_keeps_the_mean_of_equal_pixels(randomize):
    """A map of one value everywhere is pooled to this value by its masks."""
    layer = randomize(DenseContextModeling((8, 16), 4)).double()
    ones = torch.ones(1, 8, 4, 6).double()
    pooled = layer._pool(ones, torch.zeros(1, 1, 4, 6).double(), (2, 3))
    # The softmax is over the whole map: each of 6 pixels gets its share.
    torch.testing.assert_close(pooled, torch.full_like(pooled, 1 / 6))
