import re

import pytest
import torch
import torch.nn.functional as F

from lgm_pose_plugin.models.necks import SFusionNeck
from lgm_pose_plugin.models.necks.sfusion_neck import SFusion

NORM, ACT = dict(type='BN'), dict(type='ReLU')
# channels and strides of the backbone's maps, arguments, output channels,
# channels of the fusions
DESIGNS = dict(
    a=(((64, 8), (64, 8), (80, 16), (80, 16), (96, 32)), dict(), 112, (256,
                                                                       240)),
    l=(((96, 8), (96, 16), (96, 32)),
       dict(deconv_channels=(160, 128, 96),
            skips=((1, ), (0, ))), 96, (256, 224)),
    b=(((64, 8), (80, 16), (128, 32)),
       dict(
           deconv_channels=(176, 176, 176),
           deconv_kernel_size=2,
           skips=((1, ), (0, )),
           pointwise=True), 176, (256, 240)),
    fast=(((64, 8), (64, 8), (112, 16), (112, 16), (128, 32)),
          dict(deconv_channels=(128, 128, 32)), 32, (352, 256)))


def make(design, input_size=(64, 96), batch=2, **kwargs):
    maps, arguments, *_ = DESIGNS[design]
    neck = SFusionNeck([channels for channels, _ in maps],
                       **dict(arguments, **kwargs))
    feats = [
        torch.randn(batch, channels, *(size // stride for size in input_size))
        for channels, stride in maps
    ]
    return neck, feats


@pytest.mark.parametrize('kernel_size', [1, 2, 3])
@pytest.mark.parametrize('design', DESIGNS)
def test_forward(design, kernel_size):
    neck, feats = make(design, deconv_kernel_size=kernel_size)
    out_channels, fusion_channels = DESIGNS[design][2:]
    out, = neck(feats)
    assert out.shape == (2, out_channels, 16, 24)
    assert tuple(fuse.conv.out_channels
                 for fuse in neck.fusions) == fusion_channels


@pytest.mark.parametrize('kernel_size', [2, 3])
def test_deconvolutions_have_no_bias(kernel_size):
    neck, _ = make('a', deconv_kernel_size=kernel_size)
    for deconv in neck.deconvs:
        assert deconv.conv.kernel_size == (kernel_size, kernel_size)
        assert deconv.conv.stride == (2, 2) and deconv.conv.bias is None


@pytest.mark.parametrize('size', [(384, 288), (96, 160)])
def test_sizes(size):
    neck, feats = make('a', size, batch=1)
    out, = neck.eval()(feats)
    assert out.shape == (1, 112, size[0] // 4, size[1] // 4)


@pytest.mark.promise('papers-equations')
@pytest.mark.parametrize('fusion', ['sfusion', 'dw2', 'dw1', 'conv'])
@pytest.mark.parametrize('pointwise', [False, True])
@torch.no_grad()
def test_equals_literal_fusion(randomize, fusion, pointwise):
    channels = 12
    module = randomize(SFusion(channels, fusion, pointwise, NORM, ACT)).eval()
    feats = [torch.randn(2, width, 5, 4) for width in (5, 4, 3)]
    x = torch.cat(feats, 1)
    inputs = {
        # channel i of the first half beside channel i of the second half
        'sfusion': [(i // 2, i // 2 + 6) for i in range(12)],
        'dw2': [(i - i % 2, i - i % 2 + 1) for i in range(12)],
        'dw1': [(i, ) for i in range(12)],
        'conv': [tuple(range(12))] * 12,
    }[fusion]
    weight = module.conv.conv.weight
    x = torch.stack([
        sum(
            F.conv2d(x[:, j:j + 1], weight[i:i + 1, k:k + 1], padding=1)[:, 0]
            for k, j in enumerate(group)) for i, group in enumerate(inputs)
    ], 1)
    x = module.conv.norm(x).relu()
    if pointwise:
        x = torch.einsum('bcyx,oc->boyx', x,
                         module.pointwise_conv.conv.weight[:, :, 0, 0])
        x = module.pointwise_conv.norm(x).relu()
    torch.testing.assert_close(module(feats), x, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_order_of_steps(randomize):
    neck, feats = make('a')
    randomize(neck).eval()
    a8, b8, a16, b16, x = feats
    x = neck.fusions[0]([neck.deconvs[0](x), b16, a16])
    x = neck.fusions[1]([neck.deconvs[1](x), b8, a8])
    assert torch.equal(neck(feats)[0], neck.deconvs[2](x))


@torch.no_grad()
def test_upsampling(randomize):
    neck, feats = make('fast', deconv_kernel_size=1)
    randomize(neck).eval()
    conv, upsample = neck.deconvs[0]
    assert conv.conv.kernel_size == (1, 1)
    out = neck.deconvs[0](feats[-1])
    assert out.shape == (2, 128, 4, 6)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert torch.equal(out[..., i::2, j::2], conv(feats[-1]))


@pytest.mark.promise('every-weight-learns')
@pytest.mark.parametrize('fusion, kernel_size', [('sfusion', 1), ('conv', 2),
                                                 ('dw1', 1), ('dw2', 2),
                                                 ('none', 3)])
def test_gradients(check_gradients, fusion, kernel_size):
    neck, feats = make(
        'b', (32, 32), fusion=fusion, deconv_kernel_size=kernel_size)
    neck.forward = lambda *feats: SFusionNeck.forward(neck, feats)
    check_gradients(neck, *feats)


@torch.no_grad()
def test_channels_last_is_kept(randomize):
    neck, feats = make('a')
    randomize(neck).eval()
    expected, = neck(feats)
    neck.to(memory_format=torch.channels_last)
    out, = neck([feat.to(memory_format=torch.channels_last) for feat in feats])
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)
    if hasattr(torch, 'compile'):  # deconvolutions of torch 1 do not keep it
        assert out.is_contiguous(memory_format=torch.channels_last)
    fused = neck.fusions[0].shuffle(
        torch.rand(1, 256, 4, 4).to(memory_format=torch.channels_last))
    assert fused.is_contiguous(memory_format=torch.channels_last)


def test_norm_and_activation():
    neck, feats = make(
        'b', norm_cfg=dict(type='GN', num_groups=2), act_cfg=dict(type='SiLU'))
    types = {type(module).__name__ for module in neck.modules()}
    assert {'GroupNorm', 'SiLU'} < types
    assert not types & {'BatchNorm2d', 'ReLU'}
    assert neck(feats)[0].isfinite().all()


def test_init_weights():
    neck, _ = make('a')
    neck.init_weights()
    weight = neck.deconvs[1].conv.weight
    assert weight.isfinite().all()
    assert weight.std().item() == pytest.approx((2 / (9 * 256))**0.5, rel=0.05)
    for key, value in neck.state_dict().items():
        if 'bn' in key and key.endswith('weight'):
            assert torch.equal(value, torch.ones_like(value))


@pytest.mark.parametrize('kwargs, match', [
    (dict(fusion='add'), "'none'.*, got 'add'"),
    (dict(deconv_kernel_size=4), '1, 2, 3.*, got 4'),
    (dict(deconv_channels=(64, )), 'do not fit 1 deconv'),
    (dict(skips=((5, ), )), 'do not fit .* 5 in_channels'),
])
def test_wrong_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        make('a', **kwargs)


@pytest.mark.parametrize('size, found',
                         [((240, 192), '(16, 12), (15, 12), (15, 12)'),
                          ((64, 80), '(4, 6), (4, 5), (4, 5)')])
def test_maps_that_do_not_fit(size, found):
    """As of any backbone that rounds sizes up."""
    neck, _ = make('a')
    feats = [
        torch.randn(1, channels, *(-(-length // stride) for length in size))
        for channels, stride in DESIGNS['a'][0]
    ]
    with pytest.raises(ValueError, match=re.escape(f'[{found}] (HxW)')):
        neck(feats)
    neck, _ = make('a', fusion='none')
    neck(feats)


def test_wrong_number_of_maps():
    neck, feats = make('a')
    with pytest.raises(ValueError, match='5 maps .* got 4.*out_indices'):
        neck(feats[1:])
