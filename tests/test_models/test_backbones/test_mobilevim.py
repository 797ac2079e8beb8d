import copy
import inspect

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmpose.models import build_pose_estimator
from mmpose.models.backbones import MobileNetV2
from mmpose.models.backbones.resnet import BasicBlock
from torch.nn.modules.batchnorm import _BatchNorm

from lgm_pose_plugin.models.backbones import MobileViM
from lgm_pose_plugin.models.layers import (FastLARM, MobileViMBlock,
                                           MobileViTBlock)

SMALL = (96, 128)
DESIGNS = dict(
    a='td-hm_lgm-pose_1xb32-260e_coco-256x192',
    l='td-hm_lgm-pose-l_1xb32-260e_coco-256x192',
    b='td-hm_lgm-pose-b_1xb32-260e_coco-256x192',
    mobilevit='td-hm_lgm-pose-mobilevit_1xb32-260e_mpii-256x256',
    fast='simcc_lgm-pose-fast_8xb64-210e_coco-256x192')


@pytest.fixture
def network(build):
    """Backbone, neck and head of a design at a small input size."""

    def network(design='a', input_size=SMALL, **options):
        if design == 'fast':  # RTMCCHead's layers depend on the size
            options = dict(
                options,
                model__head__input_size=input_size,
                model__head__in_featuremap_size=[
                    length // 8 for length in input_size
                ])
        model = build(
            DESIGNS[design], model__backbone__input_size=input_size, **options)
        model.forward = model._forward
        return model

    return network


@pytest.mark.parametrize('input_size', [(192, 256), (288, 384), (256, 256),
                                        (128, 96), (96, 128), (160, 96)])
@pytest.mark.parametrize('training', [False, True])
def test_forward(input_size, training):
    backbone = MobileViM(input_size).train(training)
    width, height = input_size
    outs = backbone(torch.randn(2 if training else 1, 3, height, width))
    assert [tuple(out.shape[1:]) for out in outs] == [
        (channels, height // stride, width // stride)
        for channels, stride in [(64, 8), (64, 8), (80, 16), (80, 16), (96,
                                                                        32)]
    ]
    assert all(out.isfinite().all() for out in outs)
    assert backbone.training is training


def test_design_a():
    backbone = MobileViM((192, 256), out_indices=range(10)).eval()
    outs = backbone(torch.randn(1, 3, 256, 192))
    assert [tuple(out.shape[1:])
            for out in outs] == [(16, 128, 96), (32, 128, 96), (48, 64, 48),
                                 (48, 64, 48), (64, 32, 24), (64, 32, 24),
                                 (80, 16, 12), (80, 16, 12), (96, 8, 6),
                                 (96, 8, 6)]
    assert len(backbone.layers[3]) == 2
    assert all(block.use_res_connect for block in backbone.layers[3])
    hidden = backbone.layers[4][0].conv[0].out_channels
    assert hidden == 4 * 48
    blocks = [backbone.layers[i] for i in (5, 7, 9)]
    assert [
        (block.larm.patch_size, block.larm.grid_size,
         block.larm.patch_mlp.fc1.out_features,
         block.larm.pixel_mlp.fc1.out_features, block.expand_conv.out_channels)
        for block in blocks
    ] == [((4, 4), (8, 6), 96, 32, 96), ((2, 2), (8, 6), 96, 8, 120),
          ((2, 2), (4, 3), 24, 8, 144)]
    assert all(block.larm.patch_mlp.residual for block in blocks)
    assert not isinstance(blocks[0].larm, FastLARM)


@pytest.mark.parametrize('design, shapes, block_type', [
    ('l', [(96, 16, 12), (96, 8, 6), (96, 4, 3)], MobileViMBlock),
    ('b', [(64, 16, 12), (80, 8, 6), (128, 4, 3)], MobileViMBlock),
    ('mobilevit', [(64, 16, 12), (64, 16, 12), (80, 8, 6), (80, 8, 6),
                   (96, 4, 3)], MobileViTBlock),
    ('fast', [(64, 16, 12), (64, 16, 12), (112, 8, 6), (112, 8, 6),
              (128, 4, 3)], MobileViMBlock),
])
def test_other_designs(network, design, shapes, block_type):
    model = network(design).eval()
    outs = model.backbone(torch.randn(1, 3, 128, 96))
    assert [tuple(out.shape[1:]) for out in outs] == shapes
    assert isinstance(model.backbone.layers[5], block_type)


def test_fast_design(network):
    backbone = network('fast', (192, 256)).backbone
    types = {type(module).__name__ for module in backbone.modules()}
    assert not types & {'SiLU', 'GELU', 'LayerNorm'}
    blocks = [
        block for block in backbone.modules()
        if isinstance(block, MobileViMBlock)
    ]
    assert [(block.larm.patch_size, block.larm.grid_size)
            for block in blocks] == [((4, 4), (8, 6)), ((2, 2), (8, 6)),
                                     ((2, 2), (4, 3))]
    for block in blocks:
        assert isinstance(block.larm, FastLARM)
        assert block.larm.patch_mlp.residual
    assert [len(backbone.layers[i]) for i in (2, 4)] == [2, 1]
    assert all(isinstance(block, BasicBlock) for block in backbone.layers[2])


@pytest.mark.parametrize('out_indices', [(0, ), (9, ), (2, 5, 8), range(10)])
def test_out_indices(randomize, out_indices):
    backbone = randomize(MobileViM(SMALL, out_indices=out_indices)).eval()
    x = torch.randn(1, 3, 128, 96)
    x = x.contiguous(memory_format=torch.channels_last)
    outs = backbone(x)
    expected = []
    for layer in backbone.layers:
        x = layer(x)
        expected.append(x)
    assert len(outs) == len(out_indices)
    for out, index in zip(outs, out_indices):
        torch.testing.assert_close(out, expected[index], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize('design', DESIGNS)
def test_gradients(network, check_gradients, design):
    check_gradients(network(design), torch.randn(2, 3, 128, 96))


def test_gradients_without_residual(network, check_gradients):
    layers = copy.deepcopy(MobileViM.design_a)
    for layer in layers[4::2]:
        layer['residual'] = False
    check_gradients(
        network(model__backbone__layers=layers),
        torch.randn(2, 3, 128, 96),
        unreached=['patch_mlp.fc2.bias'])


def _is_frozen(layer):
    norms = [m for m in layer.modules() if isinstance(m, _BatchNorm)]
    states = {p.requires_grad for p in layer.parameters()}
    states |= {norm.training for norm in norms}
    assert len(states) == 1 and norms
    return states == {False}


@pytest.mark.parametrize('frozen_stages', [-1, 0, 5, 9])
def test_frozen_stages(frozen_stages):
    backbone = MobileViM(SMALL, frozen_stages=frozen_stages)
    expected = [i <= frozen_stages for i in range(10)]
    # DistributedDataParallel and optimizers look before the first .train().
    for i, layer in enumerate(backbone.layers):
        for parameter in layer.parameters():
            assert parameter.requires_grad is not expected[i]
    for _ in range(2):
        backbone.eval()
        backbone.train()
        assert [_is_frozen(layer) for layer in backbone.layers] == expected
    statistics = {
        key: value.clone()
        for key, value in backbone.state_dict().items() if 'running' in key
    }
    backbone(torch.randn(2, 3, 128, 96))
    for key, value in backbone.state_dict().items():
        if key in statistics:
            index = int(key.split('.')[1])
            assert torch.equal(value, statistics[key]) is expected[index]


def test_norm_eval():
    backbone = MobileViM(SMALL, norm_eval=True)
    for mode in (True, False):
        backbone.train(mode)
        assert backbone.training is backbone.layers[9].training is mode
        for module in backbone.modules():
            if isinstance(module, _BatchNorm):
                assert not module.training
                assert module.weight.requires_grad


def test_init_weights():
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        backbone = MobileViM(SMALL)
        backbone.init_weights()
        states.append(backbone.state_dict())
    first, second, other = states
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first['layers.0.conv.weight'],
                           other['layers.0.conv.weight'])
    for key, value in first.items():
        assert value.isfinite().all(), key
        if key.endswith(('bn.weight', 'norm.weight')):
            assert torch.equal(value, torch.ones_like(value)), key
        elif key.endswith('bias'):
            assert value.abs().max() == 0, key
    weight = first['layers.9.local_conv.conv.weight']
    assert weight.std().item() == pytest.approx((2 / (9 * 96))**0.5, rel=0.05)
    outs = backbone.train()(torch.randn(2, 3, 128, 96))
    assert all(0.01 < out.std() < 100 for out in outs)


def test_norm_and_activation():
    backbone = MobileViM(
        SMALL,
        norm_cfg=dict(type='GN', num_groups=2),
        act_cfg=dict(type='HSwish'))
    types = {type(module).__name__ for module in backbone.modules()}
    assert 'GroupNorm' in types and 'Hardswish' in types
    assert not types & {'BatchNorm2d', 'SiLU', 'ReLU6', 'ReLU'}
    assert len(backbone(torch.randn(1, 3, 128, 96))) == 5


@pytest.mark.parametrize('shape', [(1, 3, 96, 128), (2, 3, 128, 128),
                                   (1, 3, 127, 96), (1, 1, 128, 96),
                                   (1, 4, 128, 96), (3, 128, 96)])
def test_wrong_input(shape):
    backbone = MobileViM(SMALL).eval()
    with pytest.raises(ValueError) as error:
        backbone(torch.rand(shape))
    assert '3 channels of 128x96 (HxW)' in str(error.value)
    assert str(shape) in str(error.value)
    assert 'input_size' in str(error.value)


@pytest.mark.parametrize('kwargs, match', [
    (dict(out_indices=(4, 10)), r'between 0 and 9, got \(4, 10\)'),
    (dict(out_indices=(-1, )), r'between 0 and 9, got \(-1,\)'),
    (dict(frozen_stages=10), 'between -1 and 9, got 10'),
    (dict(frozen_stages=-2), 'between -1 and 9, got -2'),
    (dict(input_size=(180, 256)), r'multiples of 32, got \(180, 256\); set'),
    (dict(input_size=[192, 250]), r'multiples of 32, got \(192, 250\); set'),
    (dict(input_size=(0, 256)), r'multiples of 32, got \(0, 256\); set'),
    (dict(input_size=(192, -32)), r'multiples of 32, got \(192, -32\); set'),
    (dict(layers=MobileViM.design_a[:7], input_size=(96, 120),
          out_indices=()), r'multiples of 16, got \(96, 120\); set'),
])
def test_wrong_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        MobileViM(**{'input_size': SMALL, **kwargs})


def _load(how, model, state_dict, tmp_path):
    if how == 'torch':
        return model.load_state_dict(state_dict)
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict=state_dict), path)
    return load_checkpoint(model, path, map_location='cpu')


@pytest.fixture(params=['mmengine', 'torch'])
def load(request, tmp_path):
    return lambda model, state: _load(request.param, model, state, tmp_path)


def test_layers_may_have_activations_of_their_own():
    block = dict(type='MobileViMBlock', embed_dims=8, patch_size=2)
    conv = dict(type='ConvModule', out_channels=8, kernel_size=1, act_cfg=None)
    model = MobileViM(
        (32, 32),
        layers=[conv, dict(block, act_cfg=dict(type='ReLU')), block],
        out_indices=(3, ))
    assert not model.layers[1].with_activation
    kinds = [{type(module)
              for module in layer.modules()} for layer in model.layers]
    assert torch.nn.ReLU in kinds[2] and torch.nn.SiLU not in kinds[2]
    assert torch.nn.SiLU in kinds[3]


def test_refuses_foreign_weights(network, load):
    model = network()
    foreign = build_pose_estimator(
        dict(
            type='TopdownPoseEstimator',
            backbone=dict(type='MobileNetV2'),
            head=dict(type='HeatmapHead', in_channels=1280, out_channels=17)))
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    with pytest.raises(ValueError, match='not of MobileViM.*backbone.conv1'):
        load(model, foreign.state_dict())
    with pytest.raises(ValueError, match='not of MobileViM'):
        load(model.backbone, MobileNetV2().state_dict())
    with pytest.raises(ValueError, match="no key with 'backbone.' .*Pretr"):
        load(model, model.backbone.state_dict())
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('design, other', [('a', 'l'), ('a', 'b'), ('l', 'a'),
                                           ('b', 'a'), ('a', 'mobilevit'),
                                           ('mobilevit', 'a'), ('fast', 'a'),
                                           ('a', 'fast')])
def test_refuses_another_design(network, load, design, other):
    with pytest.raises(ValueError, match='another design.*backbone.layers'):
        load(network(design), network(other).state_dict())


@pytest.mark.parametrize('change', [
    dict(mlp_ratios=(4, 2)),
    dict(
        type='MobileViTBlock',
        patch_size=2,
        num_layers=2,
        fusion_kernel_size=1),
])
def test_refuses_other_blocks_in_the_same_places(network, load, change):
    layers = copy.deepcopy(MobileViM.design_a)
    layers[4].update(change)
    with pytest.raises(ValueError, match='another design.*backbone.layers.5'):
        load(network(), network(model__backbone__layers=layers).state_dict())


@pytest.mark.parametrize('source, target', [((96, 128), (192, 256)),
                                            ((192, 256), (288, 384)),
                                            ((192, 256), (128, 128))])
def test_loads_another_size(network, load, logged, source, target):
    model = network(input_size=source)
    other = network(input_size=target).eval()
    load(other, model.state_dict())
    for key, value in model.state_dict().items():
        if 'patch_' not in key:
            assert torch.equal(other.state_dict()[key], value), key
    resized = [text for text in logged if 'resized' in text]
    assert [text.split(':')[0] for text in resized
            ] == [f'backbone.layers.{i}.larm.patch_mlp' for i in (5, 7, 9)]
    out = other(torch.randn(1, 3, target[1], target[0]))
    assert out.shape == (1, 17, target[1] // 4, target[0] // 4)
    assert out.isfinite().all()


def test_fast_design_loads_another_size(network, load, logged):
    model, other = network('fast'), network('fast', (192, 256)).eval()
    load(other.backbone, model.backbone.state_dict())
    assert len([text for text in logged if 'resized' in text]) == 3
    assert all(out.isfinite().all()
               for out in other(torch.randn(1, 3, 256, 192)))


def test_loads_another_number_of_key_points(network, tmp_path, capsys):
    model, other = network(), network(model__head__out_channels=16)
    _load('mmengine', other, model.state_dict(), tmp_path)
    assert 'size mismatch for head.final_layer' in capsys.readouterr().out
    for key, value in model.state_dict().items():
        if 'head' not in key:
            assert torch.equal(other.state_dict()[key], value), key


def test_loads_as_pretrained_backbone(network, tmp_path):
    model = network()
    path = str(tmp_path / 'pose.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    backbone = MobileViM(
        SMALL,
        init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.'))
    backbone.init_weights()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[key], value), key


@pytest.mark.parametrize('design', DESIGNS)
@torch.no_grad()
def test_channels_last(network, randomize, design):
    model = randomize(network(design)).eval()
    x = torch.randn(2, 3, 128, 96)
    expected = model(x)
    model.to(memory_format=torch.channels_last)
    out = model(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('design', DESIGNS)
def test_trace_and_export(network, check_exports, design):
    # Exporting is slow, and l and b have no layers that a has not.
    check_exports(
        network(design), (3, 128, 96),
        export=design in ('a', 'mobilevit', 'fast'))


@torch.no_grad()
def test_onnx(network, randomize, tmp_path):
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    model = randomize(network()).eval()
    x = torch.randn(1, 3, 128, 96)
    path = str(tmp_path / 'model.onnx')
    parameters = inspect.signature(torch.onnx.export).parameters
    options = dict(dynamo=False) if 'dynamo' in parameters else {}
    torch.onnx.export(model, (x, ), path, opset_version=17, **options)
    session = runtime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    out, = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(out), model(x), atol=1e-4, rtol=1e-4)
