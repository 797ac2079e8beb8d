"""What both backbones have from ``CheckedBackbone``, and in_channels."""
import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.batchnorm import _BatchNorm

from lgm_pose_plugin.models.backbones import LAPX, MobileViM


def make_mobilevim(**kwargs):
    return MobileViM((96, 128), **kwargs)


def make_lapx(**kwargs):
    return LAPX(5, channels=16, num_stages=2, **kwargs)


@pytest.fixture(params=[make_mobilevim, make_lapx])
def make(request):
    return request.param


def images(in_channels=3):
    return torch.randn(2, in_channels, 128, 96)


@pytest.mark.parametrize('in_channels', [1, 4])
def test_in_channels(make, in_channels):
    backbone = make(in_channels=in_channels)
    first = next(m for m in backbone.modules()
                 if isinstance(m, torch.nn.Conv2d))
    assert first.in_channels == in_channels
    outs = backbone(images(in_channels))
    assert all(out.isfinite().all() for out in outs)
    with pytest.raises(ValueError, match=r'got an input of shape \(2, 3, 128'):
        backbone(images(3))


def is_frozen(part):
    norms = [m for m in part.modules() if isinstance(m, _BatchNorm)]
    states = {p.requires_grad for p in part.parameters()}
    states |= {norm.training for norm in norms}
    assert len(states) == 1 and norms
    return states == {False}


@pytest.mark.parametrize('frozen_stages', [-1, 0, 2])
def test_frozen_stages(make, frozen_stages):
    backbone = make(frozen_stages=frozen_stages)
    parts = list(backbone.freezable)
    expected = [i <= frozen_stages for i in range(len(parts))]
    # DistributedDataParallel and optimizers look before the first .train().
    for part, frozen in zip(parts, expected):
        assert all(p.requires_grad is not frozen for p in part.parameters())
    for _ in range(2):
        backbone.eval()
        backbone.train()
        assert [is_frozen(part) for part in parts] == expected
    before = [copy.deepcopy(part.state_dict()) for part in parts]
    backbone(images())
    for part, given, frozen in zip(parts, before, expected):
        moved = [
            key for key, value in part.state_dict().items()
            if 'running' in key and not torch.equal(value, given[key])
        ]
        assert bool(moved) is not frozen


@pytest.mark.parametrize('frozen_stages', [-2, 100])
def test_more_frozen_stages_than_parts(make, frozen_stages):
    with pytest.raises(ValueError, match=f'between -1 and .*{frozen_stages}'):
        make(frozen_stages=frozen_stages)


def test_norm_eval(make):
    backbone = make(norm_eval=True)
    for mode in (True, False):
        backbone.train(mode)
        assert backbone.training is backbone.freezable[0].training is mode
        for module in backbone.modules():
            if isinstance(module, _BatchNorm):
                assert not module.training and module.weight.requires_grad


def test_with_cp(make):
    """The same gradients, with less kept between forward and backward."""
    kept, gradients = [], []
    for with_cp in (False, True):
        torch.manual_seed(0)
        backbone = make(with_cp=with_cp).train()
        sizes = {}

        def pack(x):
            sizes[x.data_ptr()] = x.numel()
            return x

        with saved_tensors_hooks(pack, lambda x: x):
            outs = backbone(images())
        sum(out.square().sum() for out in outs).backward()
        kept.append(sum(sizes.values()))
        gradients.append({
            name: parameter.grad
            for name, parameter in backbone.named_parameters()
        })
    assert kept[1] < 0.3 * kept[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_norm_and_activation(make):
    backbone = make(
        norm_cfg=dict(type='GN', num_groups=2), act_cfg=dict(type='HSwish'))
    types = {type(module).__name__ for module in backbone.modules()}
    assert {'GroupNorm', 'Hardswish'} < types
    assert not types & {'BatchNorm2d', 'SiLU', 'ELU', 'ReLU6', 'ReLU'}
    assert all(out.isfinite().all() for out in backbone(images()))


def test_loads_as_pretrained_backbone(make, randomize, tmp_path):
    state = randomize(make()).state_dict()
    path = str(tmp_path / 'pose.pth')
    weights = {f'backbone.{key}': value for key, value in state.items()}
    torch.save(dict(state_dict=weights), path)
    backbone = make(
        init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.'))
    backbone.init_weights()
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, state[key]), key
