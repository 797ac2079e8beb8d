import pytest
import torch

from lgm_pose_plugin.models.layers import MobileViMBlock

CFG = dict(in_channels=8, embed_dims=12, patch_size=4)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('size', [(8, 8), (7, 10), (3, 2)])
def test_forward(size, training):
    block = MobileViMBlock(feature_size=size, **CFG).train(training)
    out = block(torch.randn(2, 8, *size))
    assert out.shape == (2, 8, *size) and out.isfinite().all()


@torch.no_grad()
def test_order_of_layers(randomize):
    block = randomize(MobileViMBlock(feature_size=(8, 6), **CFG)).eval()
    x = torch.randn(1, 8, 8, 6)
    out = block.larm(block.expand_conv(block.local_conv(x)))
    out = block.fusion_conv(torch.cat((x, block.project_conv(out)), 1))
    torch.testing.assert_close(block(x), out)


@pytest.mark.promise('larm-sees-the-whole-map')
@pytest.mark.parametrize('patch_size', [4, None])
def test_sees_the_whole_map_through_larm(randomize, patch_size):
    cfg = dict(CFG, patch_size=patch_size)
    block = randomize(MobileViMBlock(feature_size=(16, 12), **cfg)).eval()
    x = torch.randn(1, 8, 16, 12, requires_grad=True)
    block(x)[0, :, 0, 0].sum().backward()
    seen = (x.grad[0] != 0).any(0)
    assert seen[-1, -1] == (patch_size is not None)
    assert seen[:2, :2].all() and (patch_size or seen.sum() == 4)


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
def test_gradients(check_gradients, size, residual):
    check_gradients(
        MobileViMBlock(feature_size=size, residual=residual, **CFG),
        torch.randn(2, 8, *size),
        unreached=() if residual else ['patch_mlp.fc2.bias'])


def test_norm_and_activation():
    block = MobileViMBlock(
        feature_size=(8, 8),
        norm_cfg=dict(type='GN', num_groups=2),
        act_cfg=dict(type='ReLU'),
        **CFG)
    types = [type(module).__name__ for module in block.modules()]
    assert types.count('GroupNorm') == types.count('ReLU') == 4
    assert 'BatchNorm2d' not in types and 'SiLU' not in types
    assert block(torch.randn(2, 8, 8, 8)).min() >= 0


@pytest.mark.parametrize('size', [(8, 8), (7, 10)])
def test_trace_and_export(check_exports, size):
    check_exports(MobileViMBlock(feature_size=size, **CFG), (8, *size))
