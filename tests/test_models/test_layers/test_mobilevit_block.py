from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lgm_pose_plugin.models.layers import MobileViTBlock
from lgm_pose_plugin.models.layers.transformer_layer import TransformerLayer

CFG = dict(in_channels=8, embed_dims=12, patch_size=2, num_layers=2)


@pytest.mark.parametrize('size', [(6, 4), (5, 3)])
@torch.no_grad()
def test_tokens_are_pixels_at_the_same_place(randomize, size):
    block = randomize(MobileViTBlock(feature_size=size, **CFG)).eval()
    x = torch.randn(1, 8, *size)
    maps = block.expand_conv(block.local_conv(x))
    maps = F.pad(maps, (0, size[1] % 2, 0, size[0] % 2), mode='replicate')
    for i, j in product(range(2), range(2)):
        places = list(
            product(range(i, maps.shape[2], 2), range(j, maps.shape[3], 2)))
        tokens = torch.stack([maps[0, :, y, x] for y, x in places])
        for (y, x_), token in zip(places, block.transformer(tokens[None])[0]):
            maps[0, :, y, x_] = token
    out = block.project_conv(maps[:, :, :size[0], :size[1]])
    out = block.fusion_conv(torch.cat((x, out), 1))
    torch.testing.assert_close(block(x), out, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
def test_forward(size, training):
    block = MobileViTBlock(feature_size=size, **CFG).train(training)
    out = block(torch.randn(2, 8, *size))
    assert out.shape == (2, 8, *size) and out.isfinite().all()
    maps = torch.randn(2, 8, *size).to(memory_format=torch.channels_last)
    out = block.to(memory_format=torch.channels_last)(maps)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_layers(kernel_size):
    block = MobileViTBlock(
        feature_size=(8, 8), fusion_kernel_size=kernel_size, **CFG)
    assert block.fusion_conv.conv.weight.shape == (8, 16, kernel_size,
                                                   kernel_size)
    *layers, norm = block.transformer
    assert [type(layer) for layer in layers] == [TransformerLayer] * 2
    assert isinstance(norm, nn.LayerNorm)
    assert block(torch.randn(2, 8, 8, 8)).shape == (2, 8, 8, 8)


def test_heads_do_not_share_a_token():
    with pytest.raises(ValueError, match='14 must be a multiple of 4'):
        MobileViTBlock(feature_size=(8, 8), **dict(CFG, embed_dims=14))


@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
def test_gradients(check_gradients, size):
    check_gradients(
        MobileViTBlock(feature_size=size, **CFG), torch.randn(2, 8, *size))


def test_norm_and_activation():
    block = MobileViTBlock(
        feature_size=(8, 8),
        norm_cfg=dict(type='GN', num_groups=2),
        act_cfg=dict(type='ReLU'),
        **CFG)
    types = [type(module).__name__ for module in block.modules()]
    assert types.count('GroupNorm') == types.count('ReLU') == 4
    assert 'BatchNorm2d' not in types
    assert block(torch.randn(2, 8, 8, 8)).min() >= 0


@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
def test_trace_and_export(check_exports, size):
    check_exports(MobileViTBlock(feature_size=size, **CFG), (8, *size))
