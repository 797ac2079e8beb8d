"""mmcv's operators by torchvision give what the compiled ones give."""
import sys

import numpy as np
import pytest
import torch
from mmcv import ops
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch)
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torch.autograd import gradcheck

from lgm_pose_plugin.compat import mmcv_ops

compiled = pytest.mark.skipif(
    not sys.modules['mmcv._ext'].__file__.endswith(('.so', '.pyd')),
    reason="mmcv's operators are not compiled")


@pytest.fixture
def stand_in(monkeypatch):
    """Switch mmcv's operators in some module to those of the plugin."""

    def switch(module):
        monkeypatch.setattr(sys.modules[f'mmcv.ops.{module}'], 'ext_module',
                            mmcv_ops)

    return switch


def values_and_gradients(function, *inputs):
    """Values of a function, then the gradients of a random projection."""
    inputs = [x.clone().detach().requires_grad_() for x in inputs]
    output = function(*inputs)
    torch.manual_seed(1)
    (output * torch.randn_like(output)).sum().backward()
    return [output.detach()] + [x.grad for x in inputs]


def assert_all_close(found, expected):
    assert len(found) == len(expected)
    for value, wanted in zip(found, expected):
        torch.testing.assert_close(value, wanted)


@pytest.fixture
def compare(stand_in):
    """Compare values and gradients with those of mmcv's operator."""

    def compare(module, function, *inputs):
        expected = values_and_gradients(function, *inputs)
        stand_in(module)
        assert_all_close(values_and_gradients(function, *inputs), expected)

    return compare


def boxes_and_scores(number, seed=0):
    """Boxes of which many overlap, with scores of which some are equal."""
    generator = torch.Generator().manual_seed(seed)
    corners = 40 * torch.rand(number, 2, generator=generator)
    sizes = 1 + 30 * torch.rand(number, 2, generator=generator)
    scores = torch.rand(number, generator=generator)
    scores[::3] = (scores[::3] * 10).round() / 10
    return torch.cat((corners, corners + sizes), 1), scores


def random_rois(number, maps=2):
    """RoIs on maps of 64x48 pixels, also beyond the borders."""
    start = 60 * torch.rand(number, 2) - 10
    size = 30 * torch.rand(number, 2)
    index = torch.randint(maps, (number, 1))
    return torch.cat((index, start, start + size), 1)


@compiled
@pytest.mark.parametrize('number', [0, 1, 200])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.6])
def test_nms(stand_in, number, offset, threshold):
    boxes, scores = boxes_and_scores(number)
    options = dict(offset=offset, score_threshold=0.2, max_num=50)
    expected = ops.nms(boxes, scores, threshold, **options)
    stand_in('nms')
    for found, wanted in zip(
            ops.nms(boxes, scores, threshold, **options), expected):
        assert torch.equal(found, wanted)


@compiled
def test_nms_compares_in_single_precision(stand_in):
    # Their IoU is 0.6, which in single precision is more than 0.6.
    boxes = torch.tensor([[0., 0., 10., 10.], [0., 0., 6., 10.]])
    expected = ops.nms(boxes, torch.tensor([.9, .8]), 0.6)[1]
    stand_in('nms')
    assert torch.equal(
        ops.nms(boxes, torch.tensor([.9, .8]), 0.6)[1], expected)


@compiled
@pytest.mark.parametrize('number', [0, 1, 100])
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('min_score', [1e-3, 0.2])
def test_soft_nms(stand_in, number, offset, method, min_score):
    boxes, scores = boxes_and_scores(number)
    options = dict(offset=offset, method=method, min_score=min_score)
    expected = ops.soft_nms(boxes, scores, **options)
    stand_in('nms')
    dets, indices = ops.soft_nms(boxes, scores, **options)
    assert torch.equal(indices, expected[1])
    torch.testing.assert_close(dets, expected[0])


@compiled
@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_batched_nms(stand_in, kind):
    boxes, scores = boxes_and_scores(150)
    classes = torch.arange(150) % 3
    cfg = dict(type=kind, iou_threshold=0.5)
    expected = ops.batched_nms(boxes, scores, classes, cfg)
    stand_in('nms')
    for found, wanted in zip(
            ops.batched_nms(boxes, scores, classes, cfg), expected):
        torch.testing.assert_close(found, wanted)


@compiled
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('number', [0, 9])
def test_roi_align(compare, dtype, mode, ratio, aligned, number):
    rois = random_rois(number).to(dtype)
    if number:
        rois[0, 3] = rois[0, 1]  # without width
    features = torch.randn(2, 3, 32, 24, dtype=dtype)
    compare(
        'roi_align',
        lambda features: ops.roi_align(features, rois,
                                       (3, 5), 0.5, ratio, mode, aligned),
        features)


@compiled
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('geometry', [
    dict(),
    dict(stride=2, padding=1),
    dict(stride=(1, 2), padding=(2, 0), dilation=(2, 1)),
    dict(groups=2, padding=1),
    dict(groups=2, deform_groups=4, padding=1)
])
@pytest.mark.parametrize('modulated', [False, True])
@pytest.mark.parametrize('bias', [False, True])
def test_deform_conv(compare, dtype, geometry, modulated, bias):
    options = dict(
        dict(stride=1, padding=0, dilation=1, groups=1, deform_groups=1),
        **geometry)
    features = torch.randn(4, 8, 9, 11, dtype=dtype)
    weight = torch.randn(6, 8 // options['groups'], 3, 2, dtype=dtype)
    size = torch.nn.functional.conv2d(
        features, weight, stride=options['stride'],
        padding=options['padding'], dilation=options['dilation'],
        groups=options['groups']).shape[2:]  # yapf: disable
    points = options['deform_groups'] * 6
    # Most within the map, some beyond its borders.
    offset = 2 * torch.randn(4, points * 2, *size, dtype=dtype)
    mask = torch.rand(4, points, *size, dtype=dtype)
    options = list(options.values())
    if modulated:
        biases = [torch.randn(6, dtype=dtype)] if bias else []
        compare(
            'modulated_deform_conv',
            lambda features, offset, mask,
            weight, bias=None: ops.modulated_deform_conv2d(
                features, offset, mask, weight, bias, *options),
            features,
            offset,
            mask,
            weight,
            *biases)
    elif not bias:
        compare(
            'deform_conv', lambda features, offset, weight: ops.deform_conv2d(
                features, offset, weight, *options, False, 2), features,
            offset, weight)


def test_deform_conv_by_which_inputs_need(stand_in):
    stand_in('deform_conv')
    features, weight = torch.randn(2, 4, 6, 6), torch.randn(4, 4, 3, 3)
    offset = torch.zeros(2, 18, 4, 4)
    weight.requires_grad_()
    ops.deform_conv2d(features, offset, weight).sum().backward()
    expected, = torch.autograd.grad(
        torch.nn.functional.conv2d(features, weight).sum(), [weight])
    torch.testing.assert_close(weight.grad, expected)


# mmcv has no CPU operator of these to compare with.


def slow_roi_pool(features, rois, height, width, scale):
    """roi_pool_cuda_kernel.cuh in Python."""
    output = features.new_zeros(len(rois), features.size(1), height, width)
    output = output + 0 * features.sum()
    for number, (index, *corners) in enumerate(rois):
        x1, y1 = corners[0] * scale, corners[1] * scale
        sizes = ((corners[3] + 1) * scale - y1, (corners[2] + 1) * scale - x1)
        if min(sizes) <= 0:
            continue
        for row, column in np.ndindex(height, width):
            rows, columns = (slice(
                int((bin * (size / bins) + start).floor().clamp(min=0)),
                int(((bin + 1) * (size / bins) + start).ceil().clamp(0)))
                             for bin, bins, size, start in ((row, height,
                                                             sizes[0], y1),
                                                            (column, width,
                                                             sizes[1], x1)))
            pixels = features[index.long(), :, rows, columns].flatten(1)
            if pixels.size(1):
                output[number, :, row, column] = pixels.max(1)[0]
    return output


@pytest.mark.parametrize('number', [0, 12])
@pytest.mark.parametrize('scale', [1.0, 0.3])
def test_roi_pool(stand_in, number, scale):
    stand_in('roi_pool')
    rois = random_rois(number)
    if number:
        rois[0, 3] = rois[0, 1] - 5  # of negative width
    features = torch.randn(2, 3, 32, 24)
    assert_all_close(
        values_and_gradients(lambda x: ops.roi_pool(x, rois, (4, 3), scale),
                             features),
        values_and_gradients(lambda x: slow_roi_pool(x, rois, 4, 3, scale),
                             features))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('gamma, alpha', [(2., 0.25), (0., 0.5), (1.5, 0.9)])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('number', [1, 20])
def test_sigmoid_focal_loss(stand_in, dtype, gamma, alpha, reduction, number):
    stand_in('focal_loss')
    logits = 3 * torch.randn(number, 4, dtype=dtype)
    target = torch.randint(5, (number, ))  # the fifth is the background
    one_hot = torch.nn.functional.one_hot(target, 5)[:, :4]
    reduce = dict(
        none=lambda x: x, mean=lambda x: x.sum() / number, sum=torch.sum)
    assert_all_close(
        values_and_gradients(
            lambda x: ops.sigmoid_focal_loss(x, target, gamma, alpha, None,
                                             reduction), logits),
        values_and_gradients(
            lambda x: reduce[reduction](py_sigmoid_focal_loss(
                x, one_hot, gamma=gamma, alpha=alpha, reduction='none')),
            logits))


def test_sigmoid_focal_loss_of_weighted_classes(stand_in):
    stand_in('focal_loss')
    logits, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weight = torch.tensor([1., 2., 3.])
    plain = ops.sigmoid_focal_loss(logits, target, 2., .25, None, 'none')
    found = ops.sigmoid_focal_loss(logits, target, 2., .25, weight, 'none')
    torch.testing.assert_close(found, plain * weight[target, None])


def test_attention_on_gpus_is_that_of_cpus(stand_in):
    stand_in('multi_scale_deform_attn')
    shapes = torch.tensor([[6, 4], [3, 2]])
    inputs = [
        torch.randn(2, 30, 2, 8),
        torch.rand(2, 5, 2, 2, 3, 2),
        torch.randn(2, 5, 2, 2, 3)
    ]
    assert_all_close(
        values_and_gradients(
            lambda value, locations, weights: MultiScaleDeformableAttnFunction.
            apply(value, shapes, torch.tensor([0, 24]), locations, weights, 64
                  ), *inputs),
        values_and_gradients(
            lambda value, *others: multi_scale_deformable_attn_pytorch(
                value, shapes, *others), *inputs))


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_numerical_gradients_of_roi_align(stand_in, mode):
    stand_in('roi_align')
    rois = random_rois(3, maps=1).double()
    assert gradcheck(lambda x: ops.roi_align(x, rois, 3, 0.25, 2, mode, True),
                     torch.randn(1, 2, 9, 9).double().requires_grad_())


def test_missing_operators_are_named(stand_in):
    stand_in('carafe')
    with pytest.raises(
            NotImplementedError, match='none for carafe_forward.*MMCV_WITH'):
        ops.carafe(torch.zeros(1, 4, 2, 2), torch.zeros(1, 9, 4, 4), 3, 1, 2)
