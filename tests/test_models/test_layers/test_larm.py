import copy
import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from lgm_pose_plugin.models.layers import LARM
from lgm_pose_plugin.models.layers.resize_larm import resize_mlp

SIZES = [((32, 24), (4, 4)), ((16, 12), (2, 2)), ((9, 10), (4, 4)),
         ((5, 7), (3, 2))]


def literal_mlp(mlp, values, residual):
    mean = values.mean()
    variance = ((values - mean)**2).mean()
    x = (values - mean) / torch.sqrt(variance + mlp.norm.eps)
    x = mlp.fc1.weight @ (x * mlp.norm.weight + mlp.norm.bias) + mlp.fc1.bias
    x = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    x = mlp.fc2.weight @ x + mlp.fc2.bias
    return values + x if residual else x


def literal_larm(larm, x, patch_size, residual):
    """Equation (1), one vector at a time."""
    (height, width), (h, w) = x.shape[2:], patch_size
    rows, cols = math.ceil(height / h), math.ceil(width / w)
    maps = torch.stack([
        torch.stack([
            x[:, :, min(i, height - 1),
              min(j, width - 1)] for j in range(cols * w)
        ], -1) for i in range(rows * h)
    ], -2)
    for b, c in product(range(x.shape[0]), range(x.shape[1])):
        for i, j in product(range(h), range(w)):
            places = [(row * h + i, col * w + j) for row in range(rows)
                      for col in range(cols)]
            values = torch.stack([maps[b, c, y, x] for y, x in places])
            values = literal_mlp(larm.patch_mlp, values, residual)
            for (y, x), value in zip(places, values):
                maps[b, c, y, x] = value
        for row, col in product(range(rows), range(cols)):
            patch = maps[b, c, row * h:row * h + h, col * w:col * w + w]
            values = literal_mlp(larm.pixel_mlp, patch.flatten(), residual)
            patch.copy_(values.view(h, w))
    return maps[:, :, :height, :width]


@pytest.mark.promise('papers-equations')
@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('size, patch_size', SIZES)
@torch.no_grad()
def test_equals_equation(randomize, size, patch_size, residual):
    larm = randomize(LARM(size, patch_size, (2, 3), residual)).double()
    x = torch.randn(1, 2, *size, dtype=torch.double)
    torch.testing.assert_close(
        larm(x),
        literal_larm(larm, x, patch_size, residual),
        atol=1e-10,
        rtol=1e-8)


@torch.no_grad()
def test_channels_last(randomize):
    larm = randomize(LARM((9, 10), (4, 4)))
    x = torch.randn(2, 3, 9, 10)
    torch.testing.assert_close(
        larm(x.to(memory_format=torch.channels_last)),
        larm(x),
        atol=1e-6,
        rtol=1e-6)


@torch.no_grad()
def test_script(randomize):
    for size in ((8, 8), (9, 10)):
        larm = randomize(LARM(size, (4, 4)))
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(torch.jit.script(larm)(x), larm(x))


@pytest.mark.parametrize('size', [(8, 8), (9, 10)])
def test_trace_and_export(check_exports, size):
    check_exports(LARM(size, (4, 4)), (3, *size))


@pytest.mark.parametrize('residual', [False, True])
def test_gradients(check_gradients, residual):
    # Without residual, the second MLP's LayerNorm removes what the first
    # one's last bias adds: the same value to all pixels of a patch.
    check_gradients(
        LARM((9, 10), (4, 4), residual=residual),
        torch.randn(2, 3, 9, 10),
        unreached=() if residual else ['patch_mlp.fc2.bias'])


def trained(size, patch_size, **kwargs):
    """LARM with LayerNorm weights that differ, as after training."""
    larm = LARM(size, (patch_size, patch_size), **kwargs)
    for mlp in (larm.patch_mlp, larm.pixel_mlp):
        torch.nn.init.xavier_uniform_(mlp.fc1.weight)
        torch.nn.init.xavier_uniform_(mlp.fc2.weight)
        torch.nn.init.uniform_(mlp.norm.weight, 0.8, 1.2)
    return larm


def resize(maps, size):
    return F.interpolate(maps, size, mode='bilinear', antialias=True)


@torch.no_grad()
def patch_mlp_cosine(source, target):
    """How alike both first MLPs mix a smooth map over the patches."""
    maps = F.interpolate(
        torch.randn(4, 8, 3, 3), source.grid_size, mode='bicubic')
    wanted = source.patch_mlp(maps.flatten(2)).view_as(maps)
    wanted = resize(wanted, target.grid_size)
    out = target.patch_mlp(resize(maps, target.grid_size).flatten(2))
    return F.cosine_similarity(wanted.flatten(), out.flatten(), dim=0)


@pytest.mark.promise('other-input-sizes')
@pytest.mark.parametrize('source, target, patch_size, bound', [
    ((32, 24), (48, 36), 4, 0.98),
    ((32, 24), (32, 32), 4, 0.98),
    ((8, 6), (12, 9), 2, 0.93),
    ((48, 36), (32, 24), 4, 0.9),
    ((12, 9), (8, 6), 2, 0.85),
    ((32, 24), (16, 12), 4, 0.85),
])
def test_load_weights_of_another_size(logged, source, target, patch_size,
                                      bound):
    larm = trained(source, patch_size, residual=False)
    # A residual would hide what the MLP does.
    other = LARM(target, (patch_size, patch_size), residual=False)
    assert patch_mlp_cosine(larm, other) < 0.3
    state = larm.state_dict()
    given = copy.deepcopy(state)

    assert other.load_state_dict(state).missing_keys == []
    assert patch_mlp_cosine(larm, other) > bound
    for name, value in larm.pixel_mlp.state_dict().items():
        assert torch.equal(other.pixel_mlp.state_dict()[name], value)
    assert other.patch_grid.tolist() == list(other.grid_size)
    message, = logged
    assert f'from {list(larm.grid_size)} to {list(other.grid_size)}' in message
    # the caller's state dict is as before
    assert list(state) == list(given)
    assert all(torch.equal(state[key], given[key]) for key in given)

    other.load_state_dict(larm.state_dict())
    again = LARM(source, (patch_size, patch_size))
    again.load_state_dict(other.state_dict())
    assert again(torch.rand(1, 2, *source)).shape == (1, 2, *source)
    assert again.patch_grid.tolist() == larm.patch_grid.tolist()


@pytest.mark.parametrize('grid', [(3, 3), (2, 3), (-2, -2), (40, 40)])
@pytest.mark.parametrize('own', [(4, 4), (6, 6)])
def test_a_grid_that_the_weights_do_not_have(grid, own):
    state = trained((4, 4), 2).state_dict()
    state['patch_grid'] = torch.tensor(grid)
    other = LARM(own, (2, 2))
    before = copy.deepcopy(other.state_dict())
    message = r'patch_mlp.* shape .*, but -?\d+x-?\d+ patches .*is whole'
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)
    assert all(
        torch.equal(other.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize('name', ['norm.weight', 'fc1.bias', 'fc2.bias'])
@pytest.mark.parametrize('own', [(4, 4), (6, 6)])
def test_weights_of_several_sizes(name, own):
    state = trained((4, 4), 2).state_dict()
    key = f'patch_mlp.{name}'
    state[key] = state[key][:-1]
    with pytest.raises(ValueError, match=f'{key} has shape'):
        LARM(own, (2, 2)).load_state_dict(state)


def test_resize_whatever_torchs_defaults():
    state = trained((4, 4), 2).state_dict()
    expected = LARM((6, 6), (2, 2))
    expected.load_state_dict(copy.deepcopy(state))
    other = LARM((6, 6), (2, 2))
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        other.load_state_dict(state)
    finally:
        torch.set_default_dtype(dtype)
    for key, value in expected.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


def test_load_weights_of_same_size(logged):
    larm, other = trained((9, 10), 4), LARM((9, 10), (4, 4))
    other.load_state_dict(larm.state_dict())
    for key, value in larm.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    assert logged == []


def test_same_number_of_patches_in_another_grid(logged):
    larm, other = trained((8, 4), 2), LARM((4, 8), (2, 2))
    other.load_state_dict(larm.state_dict())
    assert other.patch_grid.tolist() == [2, 4] and len(logged) == 1
    assert not torch.equal(other.patch_mlp.fc1.weight,
                           larm.patch_mlp.fc1.weight)


@pytest.mark.parametrize('target', [(6, 7), (2, 3)])
@pytest.mark.parametrize('dtype',
                         [torch.float32, torch.float16, torch.bfloat16])
def test_resize_keeps_ratio_and_dtype(dtype, target):
    mlp = trained((8, 10), 2, mlp_ratios=(3, 2)).patch_mlp.to(dtype)
    n = target[0] * target[1]
    resized = resize_mlp(mlp.state_dict(), (4, 5), target)
    assert {
        key: tuple(value.shape)
        for key, value in resized.items()
    } == {
        'norm.weight': (n, ),
        'norm.bias': (n, ),
        'fc1.weight': (3 * n, n),
        'fc1.bias': (3 * n, ),
        'fc2.weight': (n, 3 * n),
        'fc2.bias': (n, ),
    }
    for value in resized.values():
        assert value.dtype == dtype and value.isfinite().all()
    again = resize_mlp(mlp.state_dict(), (4, 5), target)
    for key in again:  # but for the rounding of least squares
        torch.testing.assert_close(resized[key], again[key])


class OnGPU(torch.Tensor):
    """A tensor that, as one on a GPU, does not mix with the CPU's."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        if func is not torch.Tensor.to and not all(
                isinstance(one, cls)
                for one in args if isinstance(one, torch.Tensor)):
            raise RuntimeError('all tensors must be on the same device')
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize('target', [(6, 7), (2, 3)])
def test_resizes_weights_on_gpus(target):
    weights = trained((8, 10), 2).patch_mlp.state_dict()
    on_gpu = {key: value.as_subclass(OnGPU) for key, value in weights.items()}
    with pytest.raises(RuntimeError, match='same device'):
        on_gpu['fc1.weight'] @ torch.ones(20, 1)
    resized = resize_mlp(on_gpu, (4, 5), target)
    for key, value in resize_mlp(weights, (4, 5), target).items():
        assert isinstance(resized[key], OnGPU)
        torch.testing.assert_close(resized[key].cpu(), value)


def test_copies_of_hidden_units_differ():
    mlp = trained((4, 4), 2).patch_mlp
    weight = resize_mlp(mlp.state_dict(), (2, 2), (4, 4))['fc1.weight']
    assert len(weight.unique(dim=0)) == len(weight)


@pytest.mark.parametrize('target', [(6, 7), (2, 3)])
def test_norm_is_resized_as_a_map(target):
    mlp = trained((8, 10), 2).patch_mlp
    torch.nn.init.normal_(mlp.norm.weight)
    torch.nn.init.normal_(mlp.norm.bias)
    state = mlp.state_dict()
    resized = resize_mlp(state, (4, 5), target)
    for name in ('norm.weight', 'norm.bias'):
        expected = resize(state[name].view(1, 1, 4, 5), target).flatten()
        torch.testing.assert_close(resized[name], expected)


@pytest.mark.parametrize('size', [(7, 6), (8, 5), (5, 3)])
def test_padding_is_the_same_in_training(size):
    larm = LARM(size, (4, 4))
    padded, gradients = [], []
    for training in (False, True):
        x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
        x.requires_grad_()
        padded.append(larm.train(training).pad(x))
        (padded[-1]**2).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*padded)
    torch.testing.assert_close(*gradients)
