import pytest
import torch
from mmcv.cnn import ContextBlock
from torch import nn

from lgm_pose_plugin.models.backbones import LPN
from lgm_pose_plugin.models.backbones.lpn import LightweightBottleneck


def small(**kwargs):
    return LPN(50, stem_channels=16, base_channels=16, **kwargs)


@pytest.mark.parametrize('training', [False, True])
def test_forward(training):
    backbone = small(out_indices=(0, 1, 2, 3))
    backbone.train(training)
    outs = backbone(torch.randn(2, 3, 128, 96))
    assert [tuple(out.shape) for out in outs] == [(2, 16, 32, 24),
                                                  (2, 32, 16, 12),
                                                  (2, 64, 8, 6),
                                                  (2, 128, 8, 6)]
    assert all(out.isfinite().all() for out in outs)


@pytest.mark.parametrize('depth, blocks', [(50, 16), (101, 33), (152, 50)])
def test_blocks(depth, blocks):
    modules = list(LPN(depth).modules())
    blocks_ = [m for m in modules if isinstance(m, LightweightBottleneck)]
    assert len(blocks_) == blocks
    for block in blocks_:
        assert block.conv2.groups == block.conv2.in_channels
        assert block.conv1.out_channels == block.out_channels
        assert block.context_block.planes == max(block.out_channels // 16, 16)


@pytest.mark.parametrize('stride, channels', [(1, 16), (1, 32), (2, 32)])
@torch.no_grad()
def test_block_is_what_it_says(randomize, stride, channels):
    downsample = None if channels == 16 and stride == 1 else nn.Sequential(
        nn.Conv2d(16, channels, 1, stride, bias=False),
        nn.BatchNorm2d(channels))
    block = randomize(
        LightweightBottleneck(
            16, channels, expansion=1, stride=stride,
            downsample=downsample)).eval()
    x = torch.randn(2, 16, 8, 6)
    y = block.norm1(block.conv1(x)).relu()
    y = block.norm2(block.conv2(y)).relu()
    y = block.norm3(block.conv3(y))
    context = block.context_block
    weights = context.conv_mask(y).flatten(2).softmax(2)  # (B, 1, HW)
    pooled = (y.flatten(2) * weights).sum(2)[..., None, None]
    y = y + context.channel_add_conv(pooled)
    expected = (y + (downsample(x) if downsample else x)).relu()
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-4)


def test_context_adds_nothing_at_first():
    backbone = small()
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, ContextBlock):
            x = torch.randn(2, module.in_channels, 4, 3)
            assert torch.equal(module(x), x)
            assert module.conv_mask.weight.abs().max() > 0


@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients(check_gradients, with_cp):
    # A softmax does not see what is added to all of its inputs.
    check_gradients(
        small(with_cp=with_cp),
        torch.randn(2, 3, 64, 64),
        unreached=['conv_mask.bias'])


def test_exports(check_exports):
    check_exports(small(), (3, 64, 64), atol=1e-4)
