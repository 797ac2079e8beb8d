import pytest
import torch

from lgm_pose_plugin.models.layers import ECA

SIZES = [(1, 1), (4, 3), (5, 7)]


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def literal_eca(eca, x):
    """One channel at a time."""
    kernel = eca.conv.weight.flatten().tolist()
    half = len(kernel) // 2
    out = torch.empty_like(x)
    for b, maps in enumerate(x):
        pooled = [channel.mean() + channel.max() for channel in maps]
        for c, channel in enumerate(maps):
            weight = torch.zeros_like(pooled[0])
            for k, factor in enumerate(kernel):
                if 0 <= c + k - half < len(pooled):
                    weight = weight + factor * pooled[c + k - half]
            out[b, c] = channel * sigmoid(weight)
    return out


@pytest.mark.promise('papers-equations')
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('channels', [1, 5, 16])
@pytest.mark.parametrize('kernel_size', [3, 7])
@torch.no_grad()
def test_equals_equation(randomize, channels, size, kernel_size):
    eca = randomize(ECA(channels, kernel_size)).double()
    x = torch.randn(2, channels, *size, dtype=torch.double)
    given = x.clone()
    torch.testing.assert_close(eca(x), literal_eca(eca, x))
    assert torch.equal(x, given)


@pytest.mark.parametrize('size', SIZES)
def test_gradients(check_gradients, size):
    check_gradients(ECA(9), torch.randn(2, 9, *size))


def test_trace_and_export(check_exports):
    check_exports(ECA(9), (9, 5, 7))
