from itertools import product

import pytest
import torch

from lgm_pose_plugin.models.layers import DWBottleneck

CFG = dict(norm_cfg=dict(type='BN'), act_cfg=dict(type='ELU', inplace=True))
SIZES = [(1, 1), (5, 8)]
BLOCKS = [(soft_gate, conv_bias) for soft_gate in (False, True)
          for conv_bias in (False, True)]


def literal_norm_elu(norm, x):
    if norm.training:
        mean = x.mean((0, 2, 3))
        variance = x.var((0, 2, 3), unbiased=False)
    else:
        mean, variance = norm.running_mean, norm.running_var
    out = torch.empty_like(x)
    for c in range(x.shape[1]):
        out[:, c] = (x[:, c] - mean[c]) / torch.sqrt(variance[c] + norm.eps)
        out[:, c] = out[:, c] * norm.weight[c] + norm.bias[c]
    return torch.where(out > 0, out, torch.exp(out) - 1)


def literal_pointwise(conv, x):
    """One pixel at a time."""
    rows = []
    for i in range(x.shape[2]):
        rows.append(
            torch.stack([
                x[:, :, i, j] @ conv.weight[:, :, 0, 0].T
                for j in range(x.shape[3])
            ], 2))
    out = torch.stack(rows, 2)
    return out if conv.bias is None else out + conv.bias[:, None, None]


def literal_depthwise(conv, x):
    """One channel and one tap at a time."""
    height, width = x.shape[2:]
    out = torch.zeros_like(x)
    for c, i, j in product(range(x.shape[1]), range(height), range(width)):
        for di, dj in product((-1, 0, 1), (-1, 0, 1)):
            if 0 <= i + di < height and 0 <= j + dj < width:
                factor = conv.weight[c, 0, di + 1, dj + 1]
                out[:, c, i, j] += factor * x[:, c, i + di, j + dj]
        if conv.bias is not None:
            out[:, c, i, j] += conv.bias[c]
    return out


def literal_block(block, x, soft_gate):
    norm1, _, conv1, norm2, _, conv2, norm3, _, conv3 = block.branch
    out = literal_pointwise(conv1, literal_norm_elu(norm1, x))
    out = literal_depthwise(conv2, literal_norm_elu(norm2, out))
    out = literal_pointwise(conv3, literal_norm_elu(norm3, out))
    skip = x if x.shape[1] == out.shape[1] else literal_pointwise(
        block.skip, x)
    for c in range(out.shape[1]):
        gate = block.alpha.flatten()[c] if soft_gate else 1
        out[:, c] += gate * skip[:, c]
    return out


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('in_channels, out_channels', [(6, 6), (3, 10)])
@pytest.mark.parametrize('soft_gate, conv_bias', BLOCKS)
@pytest.mark.parametrize('training', [False, True])
@torch.no_grad()
def test_equals_equation(randomize, in_channels, out_channels, size, soft_gate,
                         conv_bias, training):
    block = randomize(
        DWBottleneck(
            in_channels,
            out_channels,
            soft_gate=soft_gate,
            conv_bias=conv_bias,
            **CFG)).double().train(training)
    x = torch.randn(3, in_channels, *size, dtype=torch.double)
    given = x.clone()
    expected = literal_block(block, x, soft_gate)
    torch.testing.assert_close(block(x), expected, atol=1e-9, rtol=1e-7)
    # the activation works in place, but not on the input
    assert torch.equal(x, given)


@pytest.mark.parametrize('in_channels', [6, 3])
@torch.no_grad()
def test_gate_is_closed_at_first(in_channels):
    block = DWBottleneck(
        in_channels, 6, soft_gate=True, conv_bias=False, **CFG)
    assert block.alpha.shape == (6, 1, 1)
    assert torch.equal(block.alpha, torch.zeros(6, 1, 1))
    x = torch.randn(2, in_channels, 4, 3)
    assert torch.equal(block.eval()(x), block.branch(x))


@pytest.mark.parametrize('in_channels', [6, 3])
@pytest.mark.parametrize('soft_gate, conv_bias', BLOCKS)
def test_gradients(check_gradients, in_channels, soft_gate, conv_bias):
    check_gradients(
        DWBottleneck(
            in_channels, 6, soft_gate=soft_gate, conv_bias=conv_bias, **CFG),
        torch.randn(3, in_channels, 4, 5))


def test_gradient_of_a_closed_gate(randomize):
    block = randomize(
        DWBottleneck(6, 6, soft_gate=True, conv_bias=False, **CFG))
    block.alpha.data.zero_()
    x = torch.randn(2, 6, 4, 3)
    projection = torch.randn(2, 6, 4, 3)
    (block(x) * projection).sum().backward()
    expected = (x * projection).sum((0, 2, 3))
    torch.testing.assert_close(block.alpha.grad.flatten(), expected)


def test_norm_and_activation():
    block = DWBottleneck(
        8,
        8,
        soft_gate=True,
        conv_bias=False,
        norm_cfg=dict(type='GN', num_groups=2),
        act_cfg=dict(type='ReLU'))
    types = [type(module).__name__ for module in block.modules()]
    assert types.count('GroupNorm') == types.count('ReLU') == 3
    assert 'BatchNorm2d' not in types and 'ELU' not in types


@pytest.mark.parametrize('in_channels', [6, 3])
def test_trace_and_export(check_exports, in_channels):
    check_exports(
        DWBottleneck(in_channels, 6, soft_gate=True, conv_bias=False, **CFG),
        (in_channels, 5, 7))
