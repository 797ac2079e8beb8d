import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from lgm_pose_plugin.models.layers import LARM, FastLARM

SIZES = [((32, 24), (4, 4)), ((16, 12), (2, 2)), ((9, 10), (4, 4)),
         ((5, 7), (3, 2))]


def literal_mlp(mlp, values):
    hidden = (mlp.fc1.weight[..., 0] @ values + mlp.fc1.bias).clamp(min=0)
    out = mlp.fc2.weight[..., 0] @ hidden + mlp.fc2.bias
    return values + out if mlp.residual else out


def literal_fast_larm(larm, x):
    """One vector at a time."""
    (height, width), (h, w) = x.shape[2:], larm.patch_size
    rows, cols = math.ceil(height / h), math.ceil(width / w)
    x = F.pad(x, [0, cols * w - width, 0, rows * h - height], mode='replicate')
    for b, c in product(range(x.shape[0]), range(x.shape[1])):
        for i, j in product(range(h), range(w)):
            maps = x[b, c, i::h, j::w]
            maps.copy_(
                literal_mlp(larm.patch_mlp, maps.flatten()).view(rows, cols))
        for row, col in product(range(rows), range(cols)):
            patch = x[b, c, row * h:row * h + h, col * w:col * w + w]
            patch.copy_(
                literal_mlp(larm.pixel_mlp, patch.flatten()).view(h, w))
    return x[:, :, :height, :width]


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('size, patch_size', SIZES)
@torch.no_grad()
def test_mixes_patches_then_pixels(randomize, size, patch_size, residual):
    larm = randomize(FastLARM(size, patch_size, (2, 3), residual)).double()
    x = torch.randn(2, 2, *size, dtype=torch.double)
    torch.testing.assert_close(
        larm(x), literal_fast_larm(larm, x), atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize('size', [(8, 8), (9, 10)])
@torch.no_grad()
def test_channels_last(randomize, size):
    larm = randomize(FastLARM(size, (4, 4)))
    x = torch.randn(2, 3, *size).to(memory_format=torch.channels_last)
    out = larm(x)
    torch.testing.assert_close(out, larm(x.contiguous()), atol=1e-6, rtol=1e-6)
    assert out.permute(0, 2, 3, 1).stride()[-1] == 1


@pytest.mark.parametrize('size', [(8, 8), (9, 10)])
def test_trace_and_export(check_exports, size):
    check_exports(FastLARM(size, (4, 4)), (3, *size))


@torch.no_grad()
def test_script(randomize):
    larm = randomize(FastLARM((9, 10), (4, 4)))
    x = torch.randn(2, 3, 9, 10)
    torch.testing.assert_close(torch.jit.script(larm)(x), larm(x))


@pytest.mark.parametrize('residual', [False, True])
def test_gradients(check_gradients, residual):
    check_gradients(
        FastLARM((9, 10), (4, 4), residual=residual), torch.randn(2, 3, 9, 10))


@pytest.mark.parametrize('source, target, bound', [((32, 24), (48, 36), 0.95),
                                                   ((16, 12), (32, 24), 0.85),
                                                   ((32, 24), (16, 12), 0.75)])
@torch.no_grad()
def test_loads_weights_of_another_size(logged, source, target, bound):
    larm, other = (FastLARM(size, (4, 4)) for size in (source, target))
    other.load_state_dict(larm.state_dict())
    assert len(logged) == 1
    assert other.patch_grid.tolist() == list(other.grid_size)
    maps = F.interpolate(
        torch.randn(4, 8, 3, 3), larm.grid_size, mode='bicubic')

    def resize(x):
        return F.interpolate(
            x, other.grid_size, mode='bilinear', antialias=True)

    def mix(mlp, x):
        out = mlp(x.flatten(2).transpose(1, 2))
        return out.transpose(1, 2).reshape(x.shape)

    wanted = resize(mix(larm.patch_mlp, maps))
    out = mix(other.patch_mlp, resize(maps))
    assert F.cosine_similarity(wanted.flatten(), out.flatten(), dim=0) > bound


def test_refuses_weights_of_larm():
    with pytest.raises(RuntimeError, match='norm'):
        FastLARM((8, 8),
                 (4, 4)).load_state_dict(LARM((8, 8), (4, 4)).state_dict())
