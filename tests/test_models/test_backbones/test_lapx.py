import copy

import pytest
import torch
import torch.nn.functional as F
from mmpose.models import build_pose_estimator
from mmpose.models.backbones import HourglassNet, MobileNetV2
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lgm_pose_plugin.models.backbones import LAPX
from lgm_pose_plugin.models.backbones.lapx import Hourglass
from lgm_pose_plugin.models.layers import (CBAM, ECA, ECACBAM, DWBottleneck,
                                           ECANonLocal, NonLocal)

NON_LOCAL = dict(type='ECANonLocal', gamma=0.2)
LAP = dict(
    num_stages=2,
    stem_attention=None,
    post_attention=dict(type='LAPXCBAM'),
    neck_attention=dict(type='LAPXCBAM'),
    soft_gate=False,
    conv_bias=True)


def small(num_keypoints=5, **kwargs):
    """A narrow network of two stages, of which both have a NonLocal."""
    cfg = dict(channels=16, num_stages=2, neck_attention=NON_LOCAL)
    return LAPX(num_keypoints, **{**cfg, **kwargs})


@pytest.mark.parametrize('height, width', [(256, 192), (384, 288), (100, 77),
                                           (1, 1)])
@pytest.mark.parametrize('training', [False, True])
def test_forward(height, width, training):
    backbone = small().train(training)
    outs = backbone(torch.randn(2, 3, height, width))
    assert isinstance(outs, tuple)
    assert [tuple(out.shape)
            for out in outs] == [(2, 5, -(-height // 4), -(-width // 4))] * 2
    assert all(out.isfinite().all() for out in outs)
    assert backbone.training is training


@pytest.mark.parametrize('num_stages, num_keypoints', [(1, 17), (3, 1),
                                                       (5, 133)])
def test_stages_and_key_points(num_stages, num_keypoints):
    backbone = small(num_keypoints, num_stages=num_stages)
    outs = backbone(torch.randn(2, 3, 64, 64))
    assert [tuple(out.shape)
            for out in outs] == [(2, num_keypoints, 16, 16)] * num_stages
    for i, stage in enumerate(backbone.stages):
        assert hasattr(stage, 'remap_scores') is (i < num_stages - 1)


@pytest.mark.parametrize('depth, neck', [(1, (32, 24)), (4, (4, 3)),
                                         (5, (2, 2))])
def test_neck(depth, neck):
    backbone = small(num_stages=1, depth=depth)
    inputs = []
    for module in backbone.modules():
        if isinstance(module, NonLocal):
            module.register_forward_hook(
                lambda module, args, out: inputs.append(args[0].shape[2:]))
    backbone(torch.randn(2, 3, 256, 192))
    assert inputs == [neck]


def literal_max_pool(x):
    x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=-float('inf'))
    return torch.maximum(
        torch.maximum(x[:, :, ::2, ::2], x[:, :, ::2, 1::2]),
        torch.maximum(x[:, :, 1::2, ::2], x[:, :, 1::2, 1::2]))


def literal_hourglass(hourglass, x):
    levels = [hourglass]
    while isinstance(levels[-1].inner, Hourglass):
        levels.append(levels[-1].inner)
    laterals = []
    for level in levels:
        laterals.append(level.lateral(x))
        pool, block = level.down
        x = block(literal_max_pool(x))
    block, attention = levels[-1].inner
    x = attention(block(x))
    for level, lateral in zip(reversed(levels), reversed(laterals)):
        x = level.up(x)
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = lateral + x[:, :, :lateral.shape[2], :lateral.shape[3]]
    return x


def literal_lapx(backbone, x):
    conv, norm, elu, layer1, _, layer2, layer3, attention = backbone.stem
    x = norm(F.conv2d(x, conv.weight, conv.bias, stride=2, padding=3))
    x = literal_max_pool(layer1(torch.where(x > 0, x, x.exp() - 1)))
    x = attention(layer3(layer2(x)))
    outs = []
    for stage in backbone.stages:
        hourglass, res, conv, norm, _, attention = stage.features
        y = norm(conv(res(literal_hourglass(hourglass, x))))
        y = attention(torch.where(y > 0, y, y.exp() - 1))
        s = stage.score(y)
        outs.append(s)
        if len(outs) < len(backbone.stages):
            x = x + stage.remap_features(y) + stage.remap_scores(s)
    return outs


@pytest.mark.promise('papers-equations')
@pytest.mark.parametrize('height, width', [(64, 64), (100, 77)])
@pytest.mark.parametrize('kwargs', [
    dict(num_stages=3, neck_attention=[NON_LOCAL,
                                       dict(type='LAPXECA'), None]),
    dict(depth=2, soft_gate=False),
    dict(channels=32, **LAP),
])
@pytest.mark.parametrize('training', [False, True])
@torch.no_grad()
def test_equals_equations(randomize, height, width, kwargs, training):
    backbone = randomize(small(**kwargs)).double().train(training)
    x = torch.randn(2, 3, height, width, dtype=torch.double)
    given = x.clone()
    outs, expected = backbone(x), literal_lapx(backbone, x)
    assert torch.equal(x, given)
    assert len(outs) == len(expected)
    for out, wanted in zip(outs, expected):
        torch.testing.assert_close(out, wanted)


@torch.no_grad()
def test_scores_are_fed_back(randomize):
    backbone = randomize(small(num_stages=3)).eval()
    x = torch.randn(2, 3, 64, 64)
    before = backbone(x)
    backbone.stages[0].score.bias += 1
    after = backbone(x)
    torch.testing.assert_close(after[0], before[0] + 1)
    assert not torch.allclose(after[1], before[1], atol=0.01)
    assert not torch.allclose(after[2], before[2], atol=0.01)

    # not through the features
    nn.init.zeros_(backbone.stages[0].remap_scores.weight)
    before = backbone(x)
    backbone.stages[0].score.bias += 1
    after = backbone(x)
    assert not torch.equal(after[0], before[0])
    assert torch.equal(after[1], before[1])


def count(module):
    return sum(p.numel() for p in module.parameters())


def count_leaves(module):
    """Parameters of convolutions, BatchNorm and linear layers."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear, _BatchNorm)
    return sum(count(m) for m in module.modules() if isinstance(m, kinds))


def test_parameters():
    backbone = LAPX(17)
    stem = backbone.stem
    assert [count(stem[:3])] + [count(part) for part in stem[3:]] == [
        7748, 14508, 0, 56056, 45240, 105
    ]
    hourglasses = [612750, 590831, 612750]
    for stage, hourglass in zip(backbone.stages, hourglasses):
        assert count(stage.features[0]) == hourglass
        assert [count(part)
                for part in stage.features[1:]] == [45240, 43264, 416, 0, 105]
        blocks = [
            m for m in stage.features[0].modules()
            if isinstance(m, DWBottleneck)
        ]
        assert [block.soft_gate for block in blocks] == [True] * 13
        assert count(stage.score) == 3553
    for stage in backbone.stages[:2]:
        assert count(stage.remap_features) == 43472
        assert count(stage.remap_scores) == 3744
    # gates and gammas are among the hourglasses' parameters
    total = 7748 + 14508 + 56056 + 45240 + 105 + sum(
        hourglasses) + 3 * (45240 + 43680 + 105 + 3553) + 2 * (43472 + 3744)
    assert count(backbone) == total == 2312154
    assert count_leaves(backbone) == total - 39 * 208 - 2 == 2304040
    for module in backbone.modules():
        if isinstance(module, DWBottleneck) and not module.soft_gate:
            assert not hasattr(module, 'alpha')


def attention(backbone):
    """Types of the attention layers: stem, posts and necks."""
    necks = []
    for stage in backbone.stages:
        hourglass = stage.features[0]
        while isinstance(hourglass.inner, Hourglass):
            hourglass = hourglass.inner
        necks.append(type(hourglass.inner[1]))
    return (type(backbone.stem[-1]),
            [type(stage.features[-1]) for stage in backbone.stages], necks)


@pytest.mark.parametrize('num_stages, necks', [
    (1, [ECANonLocal]),
    (5, [ECANonLocal, ECA, ECA, ECA, ECANonLocal]),
])
def test_default_attention(num_stages, necks):
    backbone = LAPX(17, channels=16, num_stages=num_stages)
    assert attention(backbone) == (ECACBAM, [ECACBAM] * num_stages, necks)


@pytest.mark.parametrize('cfg, types', [
    (None, [nn.Identity] * 3),
    (dict(type='LAPXCBAM', reduction=4), [CBAM] * 3),
    ([dict(type='LAPXECA', kernel_size=3), None,
      dict(type='ECANonLocal')], [ECA, nn.Identity, ECANonLocal]),
    ((None, None, dict(type='ECACBAM')), [nn.Identity, nn.Identity, ECACBAM]),
])
def test_attention_per_stage(cfg, types):
    given = copy.deepcopy(cfg)
    kwargs = dict(
        channels=16, num_stages=3, stem_attention=dict(type='LAPXECA'))
    backbone = LAPX(5, post_attention=cfg, neck_attention=None, **kwargs)
    assert attention(backbone) == (ECA, types, [nn.Identity] * 3)
    backbone = LAPX(5, post_attention=None, neck_attention=cfg, **kwargs)
    assert attention(backbone) == (ECA, [nn.Identity] * 3, types)
    assert cfg == given
    outs = backbone(torch.randn(2, 3, 64, 64))
    assert len(outs) == 3


def test_arguments_of_attention():
    backbone = small(
        stem_attention=dict(type='LAPXCBAM', reduction=4),
        post_attention=dict(type='LAPXECA', kernel_size=3),
        neck_attention=dict(type='ECANonLocal', reduction=2, gamma=0.5))
    assert backbone.stem[-1].channel_mlp[0].weight.shape == (4, 16, 1, 1)
    for stage in backbone.stages:
        assert stage.features[-1].conv.kernel_size == (3, )
    for module in backbone.modules():
        if isinstance(module, NonLocal):
            assert module.theta.conv.weight.shape == (8, 16, 1, 1)
            assert module.gamma == 0.5


@pytest.mark.parametrize('kwargs, match', [
    (dict(post_attention=[None]), r'post_attention .*2 stages, got \[None\]'),
    (dict(neck_attention=3 * [dict(type='LAPXECA')]),
     r'neck_attention .*2 stages, got \[.*ECA'),
    (dict(neck_attention=[]), r'neck_attention .*2 stages, got \[\]'),
    (dict(neck_attention='LAPXECA'), "neck_attention must .*'LAPXECA'"),
    (dict(post_attention='CB'), "post_attention must .*'CB'"),
])
def test_wrong_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        small(**kwargs)


@pytest.mark.parametrize('shape', [(2, 4, 64, 64), (3, 64, 64)])
def test_wrong_input(shape):
    with pytest.raises(ValueError) as error:
        small().eval()(torch.rand(shape))
    assert '(B, 3, H, W)' in str(error.value)
    assert str(shape) in str(error.value)


# phi's bias adds the same to all that a softmax compares.
UNREACHED = ['phi.conv.bias']


@pytest.mark.promise('every-weight-learns')
@pytest.mark.parametrize('kwargs', [
    dict(num_stages=3),
    dict(conv_bias=True, soft_gate=False),
    dict(LAP, channels=32),
])
def test_gradients(check_gradients, kwargs):
    check_gradients(
        small(**kwargs), torch.randn(2, 3, 128, 128), unreached=UNREACHED)


def test_gradients_at_the_start(randomize):
    """Gates and gammas that are 0 get gradients, Non-Local's weights none."""
    backbone = randomize(small(neck_attention=dict(type='ECANonLocal')))
    for name, parameter in backbone.named_parameters():
        if name.endswith('alpha'):
            nn.init.zeros_(parameter)
    backbone.double().eval()
    outs = backbone(torch.randn(2, 3, 128, 128, dtype=torch.double))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    for name, parameter in backbone.named_parameters():
        reached = parameter.grad.abs().max() > 1e-8
        without = '.non_local.' in name and not name.endswith('gamma')
        assert reached != without, name


def test_init_weights():
    backbone = LAPX(17)
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, DWBottleneck) and module.soft_gate:
            assert module.alpha.abs().max() == 0
        elif isinstance(module, NonLocal):
            # With W_o at 0 as well nothing would ever get a gradient.
            assert module.gamma == 0
            assert module.conv_out.conv.weight.abs().max() > 0
    score = backbone.stages[0].score
    assert score.weight.std().item() == pytest.approx(0.001, rel=0.1)
    outs = backbone.train()(torch.randn(2, 3, 64, 64))
    assert all(1e-4 < out.std() < 1 for out in outs)


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(state[key], value), key


def estimator(**kwargs):
    return build_pose_estimator(
        dict(
            type='TopdownPoseEstimator',
            backbone=dict(
                type='LAPX',
                **{
                    **dict(
                        num_keypoints=5,
                        channels=16,
                        num_stages=2,
                        neck_attention=NON_LOCAL),
                    **kwargs
                }),
            head=dict(type='LAPXHead', out_channels=5, num_stages=2)))


def test_loads_its_own_weights(randomize, load):
    model, other = randomize(estimator()), estimator()
    load(other, model.state_dict())
    assert_same(other.state_dict(), model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    model, other = model.backbone.eval(), other.backbone.eval()
    assert torch.equal(model(x)[1], other(x)[1])


@pytest.mark.promise('foreign-weights')
def test_refuses_foreign_weights(load):
    model = estimator()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    foreign = build_pose_estimator(
        dict(
            type='TopdownPoseEstimator',
            backbone=dict(type='MobileNetV2'),
            head=dict(type='HeatmapHead', in_channels=1280, out_channels=17)))
    with pytest.raises(ValueError, match='not of LAPX.*: backbone.conv1'):
        load(model, foreign.state_dict())
    hourglass = HourglassNet(1, 1, (8, 8), (1, 1), 8)
    for other in (MobileNetV2(), hourglass):
        with pytest.raises(ValueError, match='LAPX'):
            load(model.backbone, other.state_dict())
    assert_same(model.backbone.state_dict(), before)


@pytest.mark.parametrize('own, other', [
    (dict(), dict(channels=32)),
    (dict(), dict(num_stages=3)),
    (dict(), dict(depth=5)),
    (dict(), dict(conv_bias=True)),
    (dict(), dict(post_attention=dict(type='LAPXCBAM'))),
    (dict(neck_attention=None), dict()),
    (dict(soft_gate=False), dict()),
    (dict(neck_attention=dict(type='ECANonLocal', reduction=4)), dict()),
])
def test_refuses_another_design(load, own, other):
    with pytest.raises(ValueError) as error:
        load(estimator(**own), estimator(**other).state_dict())
    message = str(error.value)
    assert 'not of LAPX' in message
    assert 'has shape' in message and 'the config makes' in message


@pytest.mark.parametrize('own, other', [
    (dict(num_stages=3), dict()),
    (dict(depth=5), dict()),
    (dict(), dict(soft_gate=False)),
    (dict(conv_bias=True), dict()),
])
def test_refuses_weights_that_lack_layers(load_by_mmengine, own, other):
    model, weights = estimator(**own), estimator(**other).state_dict()
    with pytest.raises(ValueError, match='not of LAPX'):
        load_by_mmengine(model, weights)


def test_message_names_shapes():
    with pytest.raises(ValueError) as error:
        small().load_state_dict(small(channels=32).state_dict())
    assert ('stem.0.weight has shape (8, 3, 7, 7), the config makes '
            '(4, 3, 7, 7)') in str(error.value)


def test_loads_another_number_of_key_points(randomize, load_by_mmengine,
                                            capsys):
    model = randomize(estimator())
    other = estimator(num_keypoints=7)
    before = copy.deepcopy(other.state_dict())
    load_by_mmengine(other, model.state_dict())
    printed = capsys.readouterr().out
    left_out = {
        'backbone.stages.0.score.weight', 'backbone.stages.0.score.bias',
        'backbone.stages.1.score.weight', 'backbone.stages.1.score.bias',
        'backbone.stages.0.remap_scores.weight'
    }
    loaded = other.state_dict()
    for key, value in model.state_dict().items():
        assert (f'size mismatch for {key}:' in printed) is (key in left_out)
        wanted = before[key] if key in left_out else value
        assert torch.equal(loaded[key], wanted), key
    assert other.backbone(torch.randn(2, 3, 64, 64))[1].shape[1] == 7


@pytest.mark.promise('channels-last')
@pytest.mark.parametrize('kwargs', [dict(), dict(LAP, channels=32)])
@torch.no_grad()
def test_channels_last(randomize, kwargs):
    backbone = randomize(small(**kwargs)).double().eval()
    x = torch.randn(2, 3, 128, 96, dtype=torch.double)
    # made of the parts alone, which keep the memory format
    expected = literal_lapx(backbone, x)
    strided = x.to(memory_format=torch.channels_last)
    formats = []
    backbone.stages[1].register_forward_pre_hook(
        lambda module, args: formats.append(args[0].is_contiguous(
            memory_format=torch.channels_last)))
    outs = [backbone(x), backbone(strided)]
    backbone.to(memory_format=torch.channels_last)
    outs += [backbone(x), backbone(strided)]
    for out in outs:
        for one, wanted in zip(out, expected):
            torch.testing.assert_close(one, wanted)
    assert formats == [True] * 4


@pytest.mark.promise('trace-and-export')
@pytest.mark.parametrize('size, kwargs, export', [
    ((64, 64), dict(depth=1), True),
    ((100, 77), dict(num_stages=1, depth=2), True),
    ((96, 72), dict(), False),
    ((96, 72), dict(LAP, channels=32, depth=2), False),
])
def test_trace_and_export(check_exports, size, kwargs, export):
    check_exports(small(**kwargs), (3, *size), atol=1e-4, export=export)


@torch.no_grad()
def test_fold_scores(randomize):
    backbone = randomize(small(num_stages=3)).eval()
    x = torch.randn(2, 3, 100, 77)
    expected = backbone(x)
    for _ in range(2):  # a second time changes nothing
        for stage in backbone.stages:
            stage.fold_scores()
    assert [stage.remap_scores for stage in backbone.stages[:2]] == [None] * 2
    for out, wanted in zip(backbone(x), expected):
        torch.testing.assert_close(out, wanted, atol=1e-4, rtol=1e-4)
