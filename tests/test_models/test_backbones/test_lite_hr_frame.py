"""Dite-HRNet and HF-HRNet, networks in Lite-HRNet's frame."""
import copy
import hashlib

import pytest
import torch
from torch import nn

from lgm_pose_plugin.models.backbones import DiteHRNet, HFHRNet
from lgm_pose_plugin.models.backbones.lite_hr_frame import NUM_MODULES
from lgm_pose_plugin.models.layers import DynamicConv2d

NETWORKS = [DiteHRNet, HFHRNet]
pytestmark = pytest.mark.e2e


def fill(network):
    """Give each weight values that depend on its name alone."""
    for name, value in sorted(network.state_dict().items()):
        wave = torch.arange(value.numel(), dtype=torch.float64)
        wave = wave.mul(.7).add(len(name)).sin().view(value.shape)
        if name.endswith('running_var') or (value.dim() == 1
                                            and name.endswith('weight')):
            value.copy_(1 + wave / 2)
        elif value.is_floating_point():
            value.copy_(wave *
                        (value[0].numel()**-.5 if value.dim() > 1 else .3))
    return network


# Mean and standard deviation are what the published code returns.
@pytest.mark.promise('published-code')
@pytest.mark.parametrize('network, depth, size, mean, std', [
    (DiteHRNet, 18, (128, 96), 0.43810960412439315, 0.5395530221085265),
    (DiteHRNet, 30, (128, 96), 0.437018658821312, 0.5540831349330918),
    (HFHRNet, 18, (128, 128), 21339.135111774794, 45147.611127241944),
    (HFHRNet, 18, (128, 96), 18460.045057964096, 38460.133405442815),
    (HFHRNet, 30, (128, 96), 35856412213.69469, 80332781596.71756),
])
@torch.no_grad()
def test_equals_published_code(network, depth, size, mean, std):
    model = fill(network(depth)).double().eval()
    images = torch.arange(3 * size[0] * size[1], dtype=torch.float64)
    out, = model(images.mul(.1).sin().view(1, 3, *size))
    assert out.shape == (1, model.head_layer.in_channels[-1], size[0] // 4,
                         size[1] // 4)
    assert out.mean().item() == pytest.approx(mean, rel=1e-9)
    assert out.std().item() == pytest.approx(std, rel=1e-9)


# The hash is of the published code's lines 'name (shape)', sorted.
@pytest.mark.promise('published-code')
@pytest.mark.parametrize('network, depth, number, digest', [
    (DiteHRNet, 18, 2652, '37d4d31cd9524420'),
    (DiteHRNet, 30, 4462, 'ee541e6f2826c387'),
    (HFHRNet, 18, 1598, 'fff9594b3ff5e607'),
    (HFHRNet, 30, 2684, '81b97ee52ab0dfed'),
])
def test_weights_are_named_as_in_the_published_code(network, depth, number,
                                                    digest):
    model = network(depth)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    for name, module in model.named_modules():
        if isinstance(module, DynamicConv2d):  # flat here
            shapes[f'{name}.aggregation.weight'] = (module.num_kernels,
                                                    module.out_channels,
                                                    *module.kernel_shape)
    lines = sorted(f'{key} {tuple(shape)}' for key, shape in shapes.items())
    assert len(lines) == number
    assert hashlib.sha256(
        '\n'.join(lines).encode()).hexdigest().startswith(digest)


@pytest.mark.promise('published-code')
@pytest.mark.parametrize('name', ['ditehrnet-18', 'hfhrnet-18'])
@torch.no_grad()
def test_loads_a_checkpoint_of_the_published_code(build, load_by_mmengine,
                                                  name):
    """As MMPose 0.x writes it, with the head under another name."""
    config = f'td-hm_{name}_8xb64-210e_coco-256x192'
    model = build(config)
    published = fill(copy.deepcopy(model))
    state = {
        ('keypoint_' if key.startswith('head.') else '') + key: value
        for key, value in published.state_dict().items()
    }
    for key, module in published.named_modules():
        if isinstance(module, DynamicConv2d):
            key += '.aggregation.weight'
            state[key] = state[key].unflatten(
                1, (module.out_channels, *module.kernel_shape))
    load_by_mmengine(model, state)
    loaded = model.state_dict()
    for key, value in published.state_dict().items():
        assert torch.equal(loaded[key], value), key


def torchstat_count(network, size):
    """Count as the published code does, with torchstat: a module once."""
    counts = {}

    def count(module, inputs, out):
        x, = inputs
        if isinstance(module, (nn.Conv2d, DynamicConv2d)):
            number = (
                module.kernel_size[0] * module.kernel_size[1] * x.shape[1] //
                module.groups * out.numel())
            has_bias = getattr(module, 'bias', None) is not None
            counts[module] = number + has_bias * out.numel()
        elif isinstance(module, nn.BatchNorm2d):
            counts[module] = 2 * x.numel()
        elif isinstance(module, nn.ReLU):
            counts[module] = x.numel()
        elif isinstance(module, nn.Upsample):  # of one channel
            counts[module] = out.shape[2] * out.shape[3]
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            counts[module] = x.shape[1] * (x.shape[2] + 1) * (x.shape[3] + 1)

    hooks = [
        module.register_forward_hook(count) for module in network.modules()
    ]
    with torch.no_grad():
        network(torch.zeros(1, 3, *size))
    for hook in hooks:
        hook.remove()
    return sum(counts.values())


# The README of the published code; its M is 2^20.
@pytest.mark.promise('papers-sizes')
@pytest.mark.parametrize('depth, size, keypoints, printed', [
    (18, (256, 192), 17, '209.8'),
    (30, (256, 192), 17, '329.8'),
    (18, (384, 288), 17, '471.8'),
    (30, (384, 288), 17, '741.7'),
    (18, (256, 256), 16, '279.5'),
    (30, (256, 256), 16, '439.5'),
])
def test_multiply_adds_of_ditehrnet(depth, size, keypoints, printed):
    count = torchstat_count(DiteHRNet(depth).eval(), size)
    head = 40 * keypoints * size[0] * size[1] // 16
    assert f'{(count + head) / 2**20:.1f}' == printed


@pytest.mark.promise('papers-sizes')
def test_multiply_adds_of_small_hrnet(build):
    """Lite-HRNet's paper has 0.54 G."""
    model = build('td-hm_small-hrnet-w16_8xb64-210e_coco-256x192').eval()
    model.forward = model._forward
    assert f'{torchstat_count(model, (256, 192)) / 2**30:.2f}' == '0.54'


@pytest.mark.promise('every-weight-learns')
@pytest.mark.parametrize('network, unreached', [
    (DiteHRNet, [
        'conv_mask.bias', 'conv_mask.0.bias', 'conv_mask.1.bias',
        'conv_mask.2.bias'
    ]),
    (HFHRNet, []),
])
def test_gradients(network, unreached, check_gradients):
    """A softmax takes the biases of Dite-HRNet's masks away."""
    model = network()
    # With few channels, a ReLU may have no output for any image.
    for name, module in list(model.named_modules()):
        if name.endswith('attention'):
            for child, layer in list(module.named_children()):
                if isinstance(layer, nn.ReLU):
                    setattr(module, child, nn.LeakyReLU())
    frozen = {
        name
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }
    assert all('.dcm.conv_mask.' in name for name in frozen)
    assert bool(frozen) is (network is DiteHRNet)
    check_gradients(model, torch.randn(2, 3, 64, 64), unreached=unreached)


@pytest.mark.parametrize('network', NETWORKS)
def test_with_cp(network, randomize):
    model, other = randomize(network()), network(with_cp=True)
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    gradients = []
    for one in (model, other):
        # Its statistics are updated once more.
        one.eval()
        one(images)[0].square().mean().backward()
        gradients.append(one.stem.conv1.conv.weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('network', NETWORKS)
def test_norm_eval(network):
    model = network(norm_eval=True).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert model.training and not model.eval().training


@pytest.mark.promise('trace-and-export')
@pytest.mark.parametrize('network', NETWORKS)
@torch.no_grad()
def test_export_with_any_batch(network, randomize, tmp_path, monkeypatch):
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    from lgm_pose_plugin.export.onnx_file import write_onnx
    monkeypatch.setitem(NUM_MODULES, 18, (1, 1, 1))
    model = randomize(network())
    if network is HFHRNet:
        # Statistics of images, else values grow until float32 tells nothing.
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        model.train()(torch.randn(8, 3, 64, 96))
    model.eval()
    path = str(tmp_path / 'model.onnx')
    write_onnx(
        model, torch.randn(2, 3, 64, 96), path, ['heatmaps'], dynamic=True)
    session = runtime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    x = torch.randn(3, 3, 64, 96)
    out, = session.run(None, {'images': x.numpy()})
    expected, = model(x)
    scale = float(expected.std())
    torch.testing.assert_close(
        torch.from_numpy(out) / scale, expected / scale, atol=1e-4, rtol=1e-4)


@pytest.mark.promise('channels-last')
@pytest.mark.parametrize('network', NETWORKS)
@torch.no_grad()
def test_channels_last(network, randomize):
    model = randomize(network()).double().eval()
    x = torch.randn(2, 3, 64, 96).double()
    expected, = model(x)
    model.to(memory_format=torch.channels_last)
    out, = model(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize('network', NETWORKS)
def test_wrong_depth(network):
    with pytest.raises(ValueError, match=r'one of \[18, 30\], got 50'):
        network(depth=50)


@pytest.mark.parametrize('shape', [(1, 3, 64, 48), (1, 3, 100, 96)])
@pytest.mark.parametrize('network', NETWORKS)
def test_wrong_input(network, shape):
    with pytest.raises(ValueError, match='multiples of 32') as error:
        network().eval()(torch.rand(shape))
    assert str(shape) in str(error.value)
