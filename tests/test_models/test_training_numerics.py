"""Half precision, clipping, accumulation and averaging of weights."""
import math

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmpose.structures import PoseDataSample
from torch import nn

LGM = 'td-hm_lgm-pose_1xb4-2e_rendered-128x96'
PLUS = 'td-hm_lgm-pose-plus_8xb64-210e_coco-256x192'  # cross-entropy
LAPX = 'td-hm_lapx_8xb64-210e_coco-256x192'
LAP = 'td-hm_lap_8xb64-210e_coco-256x192'  # CBAM
DITE = 'td-hm_ditehrnet-18_8xb64-210e_coco-256x192'


def mixes_precisions():
    """Whether LayerNorm takes bfloat16 with weights of float32."""
    try:
        nn.LayerNorm(2)(torch.ones(2, dtype=torch.bfloat16))
    except RuntimeError:
        return False
    return True


needs_mixing = pytest.mark.skipif(
    not mixes_precisions(), reason='torch 1.13 lacks bfloat16 for LayerNorm')


@pytest.fixture
def small(build):
    """A network for pictures of 64x64."""

    def make(name=LGM):
        torch.manual_seed(0)
        options = dict(
            model__backbone__channels=32,
            model__backbone__depth=1) if name in (LAPX, LAP) else dict(
                model__backbone__input_size=(64, 64))
        model = build(
            name,
            model__head__decoder__input_size=(64, 64),
            model__head__decoder__heatmap_size=(16, 16),
            **options)
        model.init_weights()
        return model

    return make


def make_batch(number, size=(64, 64)):
    """Pictures with a bright spot at each of 17 key points."""
    rng = torch.Generator().manual_seed(0)
    rows, columns = (torch.arange(length // 4.) for length in size)
    inputs, samples = [], []
    for _ in range(number):
        at = torch.rand(17, 2, 1, 1, generator=rng)
        maps = torch.exp(-((rows[:, None] - at[:, 0] * len(rows))**2 +
                           (columns - at[:, 1] * len(columns))**2) / 4)
        image = nn.functional.interpolate(maps[None, ::6], size)[0]
        inputs.append((255 * image).byte())
        sample = PoseDataSample()
        sample.gt_fields = PixelData(heatmaps=maps)
        sample.gt_instance_labels = InstanceData(
            keypoint_weights=torch.ones(1, 17))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def halves(batch):
    number = len(batch['inputs']) // 2
    return [{
        key: value[part]
        for key, value in batch.items()
    } for part in (slice(number), slice(number, None))]


def wrapper(model, lr=1., optimizer='SGD', **options):
    return build_optim_wrapper(
        model, dict(optimizer=dict(type=optimizer, lr=lr), **options))


def flat(model):
    return torch.cat(
        [weight.detach().flatten() for weight in model.parameters()]).clone()


@pytest.mark.e2e
@pytest.mark.promise('mixed-precision')
@pytest.mark.parametrize('name, steps', [
    pytest.param(LGM, 12, marks=needs_mixing),
    pytest.param(PLUS, 2, marks=needs_mixing), (LAPX, 2)
])
def test_bfloat16_learns_as_float32_does(name, steps, small):
    batch = make_batch(2)
    curves, types = [], []
    for options in (dict(), dict(type='BFloat16OptimWrapper')):
        model = small(name)
        # At 4e-3 without a warm-up the loss doubles first, and seeds differ
        # more than precisions.
        optim = wrapper(model, 2e-3, 'AdamW', **options)
        conv = next(one for one in model.modules()
                    if isinstance(one, nn.Conv2d))
        types.clear()
        handle = conv.register_forward_hook(
            lambda _, inputs, output: types.append(output.dtype))
        curves.append([
            float(model.train_step(batch, optim)['loss']) for _ in range(steps)
        ])
        handle.remove()
        assert all(weight.dtype == torch.float32 and weight.isfinite().all()
                   for weight in model.parameters())
    assert set(types) == {torch.bfloat16}
    full, half = curves
    assert half != full
    assert half[0] == pytest.approx(full[0], rel=0.02)
    assert half[-1] == pytest.approx(full[-1], rel=0.1)
    if steps > 2:
        assert max(full[-1], half[-1]) < 0.5 * full[0]


@pytest.mark.promise('mixed-precision')
@needs_mixing
def test_strided_depthwise_layers_keep_float32(small):
    """oneDNN's bfloat16 gradient of them is slow, which makes AMX no use."""
    computed = {True: set(), False: set()}

    def note(conv, _, output):
        is_slow = conv.groups > 1 and max(conv.stride) > 1
        computed[is_slow].add((output.grad_fn.name(), output.dtype))

    model = small()
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    model.train_step(
        make_batch(2), wrapper(model, type='BFloat16OptimWrapper'))
    assert computed == {
        True: {('ToCopyBackward0', torch.bfloat16)},
        False: {('ConvolutionBackward0', torch.bfloat16)}
    }


@needs_mixing
def test_bfloat16_of_other_networks(build):
    """DynamicConv2d computes its weights; MMPose's head needs NumPy."""
    model = build(DITE)
    losses = model.train_step(
        make_batch(2), wrapper(model, type='BFloat16OptimWrapper'))
    assert losses['loss'].isfinite() and 'acc_pose' in losses


@needs_mixing
def test_half_precision_of_a_head_in_evaluation(small):
    """Predictions of a bfloat16 forward are near those of float32."""
    model = small().eval()
    images = torch.stack(make_batch(2)['inputs']).float() / 255
    with torch.no_grad():
        full = model(images, None, mode='tensor')
        with torch.autocast('cpu', torch.bfloat16):
            half = model(images, None, mode='tensor')
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().max() < 0.05 * full.abs().max()


@needs_mixing
@pytest.mark.parametrize('flip_test', [False, True])
@pytest.mark.parametrize('name', [LGM, LAPX])
def test_predicts_under_autocast(name, flip_test, small):
    """NumPy has no bfloat16, and key points need more digits."""
    model = small(name).eval()
    model.test_cfg.update(flip_test=flip_test, output_heatmaps=True)
    batch = make_batch(2)
    for sample in batch['data_samples']:
        sample.gt_instances = InstanceData(
            bboxes=torch.zeros(1, 4).numpy(),
            bbox_scores=torch.ones(1).numpy())
        sample.set_metainfo(
            dict(
                flip_indices=list(range(17)),
                input_size=(64, 64),
                input_center=torch.full((2, ), 32.).numpy(),
                input_scale=torch.full((2, ), 64.).numpy()))
    with torch.autocast('cpu', torch.bfloat16):
        half = model.test_step(batch)
    full = model.test_step(batch)
    for one, other in zip(half, full):
        assert one.pred_instances.keypoints.shape == (1, 17, 2)
        assert one.pred_fields.heatmaps.dtype == torch.float32
        maps, wanted = one.pred_fields.heatmaps, other.pred_fields.heatmaps
        assert (maps - wanted).abs().max() < 0.05 * wanted.abs().max()


# Of torch.use_deterministic_algorithms' list: their gradients raise on GPUs.
NOT_DETERMINISTIC = ('Adaptive', 'AvgPool3D', 'MaxPool3D', 'FractionalMaxPool',
                     'MaxUnpool', 'UpsampleLinear', 'UpsampleBilinear',
                     'UpsampleBicubic', 'UpsampleTrilinear', 'ReflectionPad',
                     'NllLoss', 'CtcLoss', 'EmbeddingBag', 'GridSampler',
                     'Cumsum', 'Kthvalue')


@pytest.mark.parametrize('name', [LGM, PLUS, LAPX, LAP])
def test_gradients_are_deterministic_on_gpus(name, small):
    """As docs/robustness.md needs them to resume a killed training."""
    model = small(name)
    data = model.data_preprocessor(make_batch(2), True)
    losses, _ = model.parse_losses(model(**data, mode='loss'))
    seen, nodes = set(), [losses.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [parent for parent, _ in node.next_functions]
    names = {node.name() for node in seen}
    assert 'ConvolutionBackward0' in names
    assert not [name for name in names if name.startswith(NOT_DETERMINISTIC)]


@pytest.mark.promise('mixed-precision')
def test_clipping_bounds_the_step(small):
    batch, updates = make_batch(4), []
    for options in (dict(), dict(clip_grad=dict(max_norm=1e-4))):
        model = small()
        before = flat(model)
        model.train_step(batch, wrapper(model, **options))
        updates.append((flat(model) - before).norm().item())
    assert updates[0] > 1e-3
    # The step with a learning rate of 1 is the gradient.
    assert updates[1] == pytest.approx(1e-4, rel=0.05)


@pytest.mark.promise('mixed-precision')
@pytest.mark.parametrize('name, training, hidden, is_equal', [
    (LGM, False, 0, True),
    (LGM, False, 9, True),
    (LGM, True, 0, False),
    (PLUS, False, 0, True),
    (PLUS, False, 9, False),
])
def test_accumulation_equals_a_large_batch(name, training, hidden, is_equal,
                                           small):
    """But for BatchNorm, which sees the small ones, and for a mean over the
    visible key points if the small ones have different numbers of them."""
    batch = make_batch(8)
    for sample in batch['data_samples'][:4]:
        sample.gt_instance_labels.keypoint_weights[:, :hidden] = 0
    steps = []
    for batches in ([batch], halves(batch)):
        model = small(name).train(training)
        before = flat(model)
        optim = wrapper(model, accumulative_counts=len(batches))
        for number, part in enumerate(batches, start=1):
            model.train_step(part, optim)
            assert torch.equal(flat(model), before) is (number < len(batches))
        steps.append(flat(model) - before)
    large, accumulated = steps
    difference = float((accumulated - large).norm() / large.norm())
    assert difference < 1e-4 if is_equal else difference > 1e-2


class Recorder(Hook):
    """The weights after each step and those that are validated."""

    def __init__(self):
        self.trained, self.validated, self.after = [], [], None

    def after_train_iter(self, runner, *args, **kwargs):
        self.trained.append(flat(runner.model))

    def before_val_iter(self, runner, *args, **kwargs):
        self.validated.append(flat(runner.model))

    before_test_iter = before_val_iter

    def after_val(self, runner):
        self.after = flat(runner.model)


@pytest.mark.e2e
@pytest.mark.promise('mixed-precision')
def test_averaged_weights_are_tested_and_saved(rendered_run):
    rendered_run.custom_hooks.append(
        dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.1, gamma=4))
    rendered_run.param_scheduler = None
    rendered_run.default_hooks.checkpoint.interval = 1
    runner = Runner.from_cfg(rendered_run)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    assert len(recorder.trained) == 3

    average = recorder.trained[0]
    for step, weights in enumerate(recorder.trained[1:], start=1):
        momentum = 0.1 + 0.9 * math.exp(-(1 + step) / 4)
        average = (1 - momentum) * average + momentum * weights
    last = recorder.trained[-1]
    assert (average - last).abs().max() > 1e-3
    for weights in recorder.validated:
        torch.testing.assert_close(weights, average)
    assert recorder.validated and torch.equal(recorder.after, last)

    path = f'{runner.work_dir}/epoch_1.pth'
    saved = torch.load(path, map_location='cpu')
    names = [name for name, _ in runner.model.named_parameters()]
    torch.testing.assert_close(
        torch.cat([saved['state_dict'][name].flatten() for name in names]),
        average)
    assert torch.equal(
        torch.cat([
            saved['ema_state_dict'][f'module.{name}'].flatten()
            for name in names
        ]), last)

    # `mim test` on it, with and without the hook.
    for hooks in (rendered_run.custom_hooks, []):
        rendered_run.custom_hooks = hooks
        rendered_run.load_from = path
        tester = Runner.from_cfg(rendered_run)
        recorder = Recorder()
        tester.register_hook(recorder)
        tester.test()
        for weights in recorder.validated:
            torch.testing.assert_close(weights, average)
        assert recorder.validated
