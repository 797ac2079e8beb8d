import copy
import inspect

import pytest
import torch
from mmpose.models import build_pose_estimator
from mmpose.models.backbones import MobileNetV2

from lgm_pose_plugin.models.backbones import MobileViM
from lgm_pose_plugin.models.backbones.mobilevim import DESIGNS
from lgm_pose_plugin.models.layers import FastLARM

SMALL = (96, 128)
CONFIGS = dict(
    a='td-hm_lgm-pose_1xb32-260e_coco-256x192',
    l='td-hm_lgm-pose-l_1xb32-260e_coco-256x192',
    b='td-hm_lgm-pose-b_1xb32-260e_coco-256x192',
    mobilevit='td-hm_lgm-pose-mobilevit_1xb32-260e_mpii-256x256',
    fast='td-hm_lgm-pose-fast_8xb64-210e_coco-256x192')


@pytest.fixture
def network(build):
    """Backbone, neck and head of a design at a small input size."""

    def network(design='a', input_size=SMALL, **options):
        model = build(
            CONFIGS[design], model__backbone__input_size=input_size, **options)
        model.forward = model._forward
        return model

    return network


# Channels, stride of the outputs, and parameters.
@pytest.mark.parametrize('arch, outputs, parameters', [
    ('a', '64/8 64/8 80/16 80/16 96/32', 464388),
    ('l', '96/8 96/16 96/32', 419260),
    ('b', '64/8 80/16 128/32', 478132),
    ('mobilevit', '64/8 64/8 80/16 80/16 96/32', 1895936),
    ('no_larm', '64/8 64/8 80/16 80/16 96/32', 461760),
    ('no_residual', '64/8 64/8 80/16 80/16 96/32', 464388),
    ('fast_larm', '64/8 64/8 80/16 80/16 96/32', 464284),
    ('relu', '64/8 64/8 80/16 80/16 96/32', 464388),
    ('hswish', '64/8 64/8 80/16 80/16 96/32', 464388),
    ('fast', '64/8 64/8 112/16 112/16 128/32', 745292),
])
def test_arch(arch, outputs, parameters):
    backbone = MobileViM(SMALL, arch=arch).eval()
    outs = backbone(torch.randn(1, 3, 128, 96))
    assert ' '.join(f'{out.shape[1]}/{128 // out.shape[2]}'
                    for out in outs) == outputs
    assert all(out.shape[2] * 3 == out.shape[3] * 4 for out in outs)
    assert sum(p.numel() for p in backbone.parameters()) == parameters


@pytest.mark.parametrize('input_size', [(192, 256), (288, 384), (160, 96)])
def test_forward(input_size):
    width, height = input_size
    outs = MobileViM(input_size)(torch.randn(2, 3, height, width))
    assert [tuple(out.shape[2:]) for out in outs] == [
        (height // stride, width // stride) for stride in (8, 8, 16, 16, 32)
    ]
    assert all(out.isfinite().all() for out in outs)


def test_arguments_override_the_design():
    backbone = MobileViM(
        SMALL,
        arch='l',
        stem_channels=8,
        expand_ratio=1,
        out_indices=(0, 8),
        act_cfg=dict(type='ReLU'))
    outs = backbone(torch.randn(2, 3, 128, 96))
    assert [out.shape[1] for out in outs] == [8, 96]
    first = backbone.layers[1][0].conv[0].conv  # no expansion before it
    assert first.in_channels == first.groups == 8
    assert not {'SiLU'} & {type(m).__name__ for m in backbone.modules()}
    layers = (dict(type='MV2', out_channels=24, stride=2), )
    backbone = MobileViM(SMALL, layers=layers, out_indices=(1, ))
    assert backbone(torch.randn(2, 3, 128, 96))[0].shape == (2, 24, 32, 24)


def test_fast_design_has_no_layer_that_int8_engines_lack():
    modules = list(MobileViM(SMALL, arch='fast').modules())
    types = {type(module).__name__ for module in modules}
    assert not types & {'GELU', 'LayerNorm'}
    assert len([m for m in modules if isinstance(m, FastLARM)]) == 3


@pytest.mark.parametrize('out_indices', [(0, ), (2, 5, 8), range(10)])
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


@pytest.mark.promise('every-weight-learns')
# l has no layers that the others have not.
@pytest.mark.parametrize('design', ['a', 'b', 'mobilevit', 'fast'])
def test_gradients(network, check_gradients, design):
    check_gradients(network(design), torch.randn(2, 3, 128, 96))


def test_gradients_without_residual(network, check_gradients):
    check_gradients(
        network(model__backbone__arch='no_residual'),
        torch.randn(2, 3, 128, 96),
        unreached=['patch_mlp.fc2.bias'])


def test_init_weights():
    backbone = MobileViM(SMALL)
    backbone.init_weights()
    weight = backbone.state_dict()['layers.9.local_conv.conv.weight']
    assert weight.std().item() == pytest.approx((2 / (9 * 96))**0.5, rel=0.05)
    outs = backbone.train()(torch.randn(2, 3, 128, 96))
    assert all(0.01 < out.std() < 100 for out in outs)


@pytest.mark.parametrize('shape', [(1, 3, 96, 128), (2, 3, 128, 128),
                                   (1, 3, 127, 96), (3, 128, 96)])
def test_wrong_input(shape):
    backbone = MobileViM(SMALL).eval()
    with pytest.raises(ValueError) as error:
        backbone(torch.rand(shape))
    assert '(B, 3, 128, 96)' in str(error.value)
    assert str(shape) in str(error.value)
    assert 'input_size' in str(error.value)


@pytest.mark.parametrize('kwargs, match', [
    (dict(out_indices=(4, 10)), r'between 0 and 9, got \(4, 10\)'),
    (dict(out_indices=(-1, )), r'between 0 and 9, got \(-1,\)'),
    (dict(arch='A'), "one of a, l, b, .*fast, got 'A'"),
    (dict(input_size=(180, 256)), r'multiples of 32, got \(180, 256\); set'),
    (dict(input_size=[192, 250]), r'multiples of 32, got \(192, 250\); set'),
    (dict(input_size=(0, 256)), r'multiples of 32, got \(0, 256\); set'),
    (dict(input_size=(192, -32)), r'multiples of 32, got \(192, -32\); set'),
    (dict(
        layers=DESIGNS['a']['layers'][:7],
        input_size=(96, 120),
        out_indices=()), r'multiples of 16, got \(96, 120\); set'),
])
def test_wrong_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        MobileViM(**{'input_size': SMALL, **kwargs})


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


@pytest.mark.promise('foreign-weights')
def test_refuses_foreign_weights(network, load):
    model = network()
    foreign = build_pose_estimator(
        dict(
            type='TopdownPoseEstimator',
            backbone=dict(type='MobileNetV2'),
            head=dict(type='HeatmapHead', in_channels=1280, out_channels=17)))
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    with pytest.raises(ValueError, match='not of MobileViM.*: backbone.conv1'):
        load(model, foreign.state_dict())
    with pytest.raises(ValueError, match='not of MobileViM.*'):
        load(model.backbone, MobileNetV2().state_dict())
    with pytest.raises(
            ValueError, match="not of MobileViM.*: they lack backbone"):
        load(model, model.backbone.state_dict())
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('design, other', [('a', 'l'), ('a', 'b'), ('b', 'a'),
                                           ('mobilevit', 'a'), ('a', 'fast')])
def test_refuses_another_design(network, load, design, other):
    with pytest.raises(
            ValueError, match='not of MobileViM.*: backbone.layers'):
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
    layers = copy.deepcopy(DESIGNS['a']['layers'])
    layers[4].update(change)
    with pytest.raises(
            ValueError, match='not of MobileViM.*: backbone.layers.5'):
        load(network(), network(model__backbone__layers=layers).state_dict())


@pytest.mark.promise('other-input-sizes')
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


def test_loads_another_number_of_key_points(network, load_by_mmengine, capsys):
    model, other = network(), network(model__head__out_channels=16)
    load_by_mmengine(other, model.state_dict())
    assert 'size mismatch for head.final_layer' in capsys.readouterr().out
    for key, value in model.state_dict().items():
        if 'head' not in key:
            assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.promise('channels-last')
@pytest.mark.parametrize('design', CONFIGS)
@torch.no_grad()
def test_channels_last(network, randomize, design):
    model = randomize(network(design)).eval()
    x = torch.randn(2, 3, 128, 96)
    expected = model(x)
    model.to(memory_format=torch.channels_last)
    out = model(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.promise('trace-and-export')
@pytest.mark.parametrize(
    'design, export',
    [
        ('a', True),
        ('mobilevit', True),
        ('fast', True),
        # These have no layers that a has not.
        ('l', False),
        ('b', False),
    ])
def test_trace_and_export(network, check_exports, design, export):
    check_exports(network(design), (3, 128, 96), export=export)


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
