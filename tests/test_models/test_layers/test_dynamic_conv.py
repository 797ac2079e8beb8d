import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule

from lgm_pose_plugin.models.layers import DynamicConv2d


@pytest.mark.promise('papers-equations')
@pytest.mark.parametrize('channels, groups', [((16, 8), 1), ((16, 16), 16),
                                              ((16, 8), 4)])
@torch.no_grad()
def test_equals_equation(randomize, channels, groups):
    """Each image is convolved with the weighted sum of the kernels."""
    options = dict(stride=2, padding=1, groups=groups)
    layer = DynamicConv2d(*channels, 3, num_kernels=3, **options)
    layer = randomize(layer).double().eval()
    images = torch.randn(4, 16, 9, 7).double()
    out = layer(images)
    for image, one in zip(images.split(1), out.split(1)):
        weights = layer.attention(image)[0]
        assert weights.shape == (3, ) and 0 < weights.min() < weights.max() < 1
        kernels = layer.aggregation.weight.unflatten(
            1, (channels[1], *layer.kernel_shape))
        kernel = sum(w * k for w, k in zip(weights, kernels))
        torch.testing.assert_close(one, F.conv2d(image, kernel, **options))


@torch.no_grad()
def test_exported_form_is_the_same(randomize, monkeypatch):
    layer = DynamicConv2d(16, 8, 3, padding=1, groups=4)
    layer = randomize(layer).double().eval()
    x = torch.randn(3, 16, 9, 7).double()
    expected = layer(x)
    monkeypatch.setattr(torch.onnx, 'is_in_onnx_export', lambda: True)
    assert 'mul' in str(torch.jit.trace(layer, x).graph)
    torch.testing.assert_close(layer(x), expected)


def test_conv_module():
    module = ConvModule(
        8,
        16,
        3,
        conv_cfg=dict(type='DynamicConv2d', num_kernels=2),
        norm_cfg=dict(type='BN'))
    assert type(module.conv) is DynamicConv2d and module.conv.num_kernels == 2
    assert module(torch.randn(2, 8, 9, 9)).shape == (2, 16, 7, 7)


def test_bias():
    with pytest.raises(ValueError, match='no bias; set bias=False'):
        DynamicConv2d(8, 8, 3, bias=True)
