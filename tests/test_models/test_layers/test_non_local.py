import copy
from itertools import product

import pytest
import torch
from mmcv.cnn import NonLocal2d

from lgm_pose_plugin.models.layers import ECANonLocal, NonLocal

SIZES = [(1, 1), (4, 3), (3, 5)]
CONVS = ['theta', 'phi', 'g', 'conv_out']
# It adds the same to theta(x_i) . phi(x_j) for all j: softmax removes it.
UNREACHED = ['phi.conv.bias']


def literal_non_local(layer, x, gamma):
    """One pair of pixels at a time."""

    def conv(name, pixel):
        module = getattr(layer, name).conv
        return module.weight[:, :, 0, 0] @ pixel + module.bias

    out = x.clone()
    places = list(product(range(x.shape[2]), range(x.shape[3])))
    for b in range(len(x)):
        pixels = [x[b, :, i, j] for i, j in places]
        for (i, j), pixel in zip(places, pixels):
            theta = conv('theta', pixel)
            exps = [
                torch.exp((theta * conv('phi', other)).sum())
                for other in pixels
            ]
            mixed = sum(e / sum(exps) * conv('g', other)
                        for e, other in zip(exps, pixels))
            out[b, :, i, j] += gamma * conv('conv_out', mixed)
    return out


def literal_eca(eca, x):
    kernel = eca.conv.weight.flatten()
    pooled = x.mean((2, 3)) + x.flatten(2).max(2)[0]
    zeros = pooled.new_zeros(len(x), 3)
    pooled = torch.cat((zeros, pooled, zeros), 1)
    weights = sum(kernel[k] * pooled[:, k:k + x.shape[1]] for k in range(7))
    return x / (1 + torch.exp(-weights))[:, :, None, None]


@pytest.mark.promise('papers-equations')
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('channels, reduction', [(16, 8), (5, 8), (12, 2)])
@pytest.mark.parametrize('gamma', [0, 0.2, -1.5])
@torch.no_grad()
def test_equals_equation(randomize, channels, reduction, size, gamma):
    layer = randomize(NonLocal(channels, reduction, gamma)).double()
    layer.gamma.fill_(gamma)  # not rounded to single precision
    x = torch.randn(2, channels, *size, dtype=torch.double)
    given = x.clone()
    expected = literal_non_local(layer, x, gamma)
    torch.testing.assert_close(layer(x), expected)
    assert torch.equal(expected, x) is (gamma == 0)
    assert torch.equal(x, given)
    layer.learn_gamma = False
    torch.testing.assert_close(layer(x), expected)
    layer.enabled = False
    assert torch.equal(layer(x), x)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('gamma', [0, 0.2])
@torch.no_grad()
def test_eca_non_local_equals_equation(randomize, size, gamma):
    layer = randomize(ECANonLocal(16, 4, gamma)).double()
    layer.non_local.gamma.fill_(gamma)
    x = torch.randn(2, 16, *size, dtype=torch.double)
    weighted = literal_eca(layer.channel, x)
    expected = literal_non_local(layer.non_local, weighted, gamma)
    torch.testing.assert_close(layer(x), expected)
    layer.non_local.enabled = False
    torch.testing.assert_close(layer(x), weighted)


@pytest.mark.parametrize('channels, reduction', [(16, 8), (208, 8), (12, 3)])
@torch.no_grad()
def test_equals_mmcv(randomize, channels, reduction):
    layer = randomize(NonLocal(channels, reduction, gamma=1)).double()
    other = NonLocal2d(channels, reduction=reduction, use_scale=False).double()
    state = layer.state_dict()
    del state['gamma']
    other.load_state_dict(state)
    x = torch.randn(2, channels, 4, 3, dtype=torch.double)
    assert (other(x) - x).abs().max() > 0.1
    torch.testing.assert_close(layer(x), other(x))


@pytest.mark.parametrize('again', [False, True])
def test_init_weights(again):
    layer = ECANonLocal(208)
    if again:
        for parameter in layer.parameters():
            torch.nn.init.constant_(parameter, 7)
        layer.non_local.gamma.data.zero_()
        layer.non_local.init_weights()
    for name in CONVS:
        conv = getattr(layer.non_local, name).conv
        bound = conv.in_channels**-0.5  # torch's default, uniform
        assert conv.weight.abs().max() <= bound
        std = pytest.approx(bound / 3**0.5, rel=0.05)
        assert conv.weight.std().item() == std
        assert 0 < conv.bias.abs().max() <= bound
    assert layer.non_local.gamma == 0


@pytest.mark.parametrize('layer',
                         [NonLocal(16, gamma=0.2),
                          ECANonLocal(16, gamma=0.2)])
def test_gradients(check_gradients, layer):
    check_gradients(layer, torch.randn(2, 16, 4, 3), unreached=UNREACHED)


def test_no_gradients_at_gamma_0(check_gradients):
    check_gradients(
        ECANonLocal(16),
        torch.randn(2, 16, 4, 3),
        unreached=[
            f'{name}.conv.{kind}' for name in CONVS
            for kind in ('weight', 'bias')
        ])


@pytest.mark.parametrize('enabled', [False, True])
@pytest.mark.parametrize('learn_gamma', [False, True])
def test_flags(randomize, enabled, learn_gamma):
    layer = randomize(NonLocal(16, gamma=0.2))
    layer.enabled, layer.learn_gamma = enabled, learn_gamma
    x = torch.randn(2, 16, 4, 3, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad.abs().min() > 0
    for name, parameter in layer.named_parameters():
        wanted = enabled and (learn_gamma or name != 'gamma')
        assert (parameter.grad is not None) is wanted, name
    if enabled and learn_gamma:
        assert layer.gamma.grad != 0


def test_flags_are_not_saved(randomize):
    layer = randomize(NonLocal(16, gamma=0.2))
    layer.enabled = layer.learn_gamma = False
    other = NonLocal(16)
    other.load_state_dict(copy.deepcopy(layer.state_dict()))
    assert other.enabled and other.learn_gamma
    assert other.gamma.item() == pytest.approx(0.2)


@pytest.mark.parametrize('layer, enabled', [
    (NonLocal(16, gamma=0.2), True),
    (NonLocal(16, gamma=0.2), False),
    (ECANonLocal(16, gamma=0.2), True),
])
def test_trace_and_export(check_exports, layer, enabled):
    getattr(layer, 'non_local', layer).enabled = enabled
    check_exports(layer, (16, 4, 3))


@torch.no_grad()
def test_channels_last(randomize):
    layer = randomize(ECANonLocal(16, gamma=0.2))
    x = torch.randn(2, 16, 4, 3)
    torch.testing.assert_close(
        layer(x.to(memory_format=torch.channels_last)), layer(x))
