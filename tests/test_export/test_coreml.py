"""Core ML's packages: their programs are read back and computed in torch.

Core ML runs on Apple's devices alone. What is not tested is its own
arithmetic; structure and weights of the programs are.
"""
import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
from lgm_pose_plugin.runtime.session import open_session

coremltools = pytest.importorskip('coremltools')
exporter = pytest.importorskip('lgm_pose_plugin.export.exporter')
milproto = pytest.importorskip(
    'coremltools.converters.mil.frontend.milproto.load')
pytestmark = pytest.mark.e2e


def _convolve(x, weight, strides, dilations, pad_type, pad, groups, **rest):
    assert pad_type in ('custom', 'valid')
    pad = pad if pad_type == 'custom' else [0] * len(pad)
    assert pad[::2] == pad[1::2]
    kind = 'conv_transpose' if 'output_shape' in rest else 'conv'
    convolve = getattr(F, f'{kind}{weight.dim() - 2}d')
    return convolve(
        x,
        weight,
        rest.get('bias'),
        strides,
        pad[::2],
        groups=groups,
        dilation=dilations)


def _slice(x, begin, end, end_mask):
    return x[tuple(
        slice(start, None if last else stop)
        for start, stop, last in zip(begin, end, end_mask))]


# Operators of MIL, the language of Core ML's programs.
OPERATORS = dict(
    add=lambda x, y: x + y,
    batch_norm=lambda x, mean, variance, gamma, beta, epsilon: F.batch_norm(
        x, mean, variance, gamma, beta, eps=epsilon),
    cast=lambda x, dtype: x.to(dict(fp16=torch.half, fp32=torch.float)[dtype]),
    clip=lambda x, alpha, beta: x.clamp(alpha, beta),
    concat=lambda values, axis, interleave: torch.cat(values, axis),
    conv=_convolve,
    conv_transpose=_convolve,
    elu=lambda x, alpha: F.elu(x, alpha),
    expand_dims=lambda x, axes: x.unsqueeze(*axes),
    gelu=lambda x, mode: F.gelu(x),
    layer_norm=lambda x, axes, gamma, beta, epsilon: F.layer_norm(
        x, gamma.shape, gamma, beta, epsilon),
    linear=lambda x, weight, bias: F.linear(x, weight, bias),
    matmul=lambda x, y, transpose_x, transpose_y:
    (x.mT if transpose_x else x) @ (y.mT if transpose_y else y),
    max_pool=lambda x, kernel_sizes, strides, pad, **_: F.max_pool2d(
        x, kernel_sizes, strides, pad[::2]),
    mul=lambda x, y: x * y,
    pad=lambda x, pad, mode, **_: F.pad(x, pad[-2:] + pad[-4:-2], mode),
    real_div=lambda x, y: x / y,
    reduce_l2_norm=lambda x, axes, keep_dims: x.norm(
        dim=axes, keepdim=keep_dims),
    reduce_max=lambda x, axes, keep_dims: x.amax(axes, keep_dims),
    reduce_mean=lambda x, axes, keep_dims: x.mean(axes, keep_dims),
    relu=lambda x: x.relu(),
    reshape=lambda x, shape: x.reshape(shape),
    sigmoid=lambda x: x.sigmoid(),
    sigmoid_hard=lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
    silu=lambda x: F.silu(x),
    slice_by_index=_slice,
    softmax=lambda x, axis: x.softmax(axis),
    split=lambda x, split_sizes, axis: x.split(split_sizes, axis),
    squeeze=lambda x, axes: x.squeeze(*axes),
    sub=lambda x, y: x - y,
    transpose=lambda x, perm: x.permute(perm),
    upsample_nearest_neighbor=lambda x, **scale: F.interpolate(
        x, scale_factor=tuple(map(float, scale.values()))))


@torch.no_grad()
def compute(package, images):
    """Compute a package in torch, with images of shape (1, 3, H, W)."""
    spec = package.get_spec()
    program = milproto.load(spec, spec.specificationVersion,
                            package.weights_dir)
    values = dict(images=torch.from_numpy(images))

    def value(var):
        if isinstance(var, (list, tuple)):
            return [value(one) for one in var]
        if var.name in values:
            return values[var.name]
        constant = np.asarray(var.val)
        is_tensor = constant.ndim and constant.dtype.kind == 'f'
        return torch.from_numpy(constant) if is_tensor else constant.tolist()

    for op in program.functions['main'].operations:
        if op.op_type == 'const':
            continue
        inputs = {
            name: value(var)
            for name, var in op.inputs.items() if var is not None
        }
        outputs = OPERATORS[op.op_type](**inputs)
        if len(op.outputs) == 1:
            outputs = [outputs]
        for var, output in zip(op.outputs, outputs):
            assert tuple(output.shape) == tuple(var.shape), op.op_type
            values[var.name] = output
    return {
        one.name: values[one.name].numpy()
        for one in spec.description.output
    }


@pytest.fixture(scope='module')
def exported(tmp_path_factory, small_network):
    """Path and report of a package; each is made once."""

    @functools.lru_cache(maxsize=None)
    def export(name, format='coreml', **options):
        config, cfg_options, checkpoint = small_network(name)
        suffix = dict(coreml='.mlpackage', onnx='.onnx')[format]
        file = tmp_path_factory.mktemp('coreml') / f'pose{suffix}'
        if format == 'coreml':  # an earlier one, which is replaced
            file.mkdir()
            for part in ('Manifest.json', 'earlier'):
                (file / part).touch()
        report = exporter.export(
            config,
            checkpoint,
            str(file),
            format=format,
            samples=2,
            cfg_options=cfg_options,
            **options)
        return str(file), report

    return export


def open_package(file):
    return coremltools.models.MLModel(file, skip_model_load=True)


@pytest.mark.promise('exported-files')
@pytest.mark.parametrize('name, normalize, float16, tolerance',
                         [('lgm', True, False, 1e-4),
                          ('lapx', True, True, .02),
                          ('rtmpose', False, False, 1e-4)])
def test_program(exported, name, normalize, float16, tolerance):
    options = dict(normalize=normalize)
    file, report = exported(name, float16=float16, **options)
    onnx, _ = exported(name, 'onnx', decode=False, **options)
    width, height = report['metadata']['input_size']
    image = render_image(np.random.default_rng(0), (width, height), 1)[0][None]
    images = image.transpose(0, 3, 1, 2).astype(np.float32)
    if not normalize:
        image = images = images / 50 - 2
    expected = open_session(onnx).run(image)
    found = compute(open_package(file), images)
    assert sorted(found) == sorted(expected)
    for key, maps in found.items():
        scale = max(1, np.abs(expected[key]).max())
        np.testing.assert_allclose(maps, expected[key], atol=tolerance * scale)
    assert report['check']['maps_max_difference'] < 1e-4
    precision = 'float16' if float16 else 'float32'
    assert report['metadata']['precision'] == precision


def test_package(exported):
    file, report = exported('lgm', float16=False, normalize=True)
    package, metadata = open_package(file), report['metadata']
    saved = package.user_defined_metadata['lgm_pose_plugin']
    assert json.loads(saved) == metadata
    assert not metadata['decode']
    entry, = package.get_spec().description.input
    kind = entry.type.imageType
    assert [kind.width, kind.height] == metadata['input_size']
    assert kind.colorSpace == kind.BGR
    assert sorted(os.listdir(file)) == ['Data', 'Manifest.json']
    assert os.listdir(os.path.dirname(file)) == [
        'pose.mlpackage', 'pose.mlpackage.report.json'
    ]
    weights, = Path(file).rglob('weight.bin')
    assert 0 < report['bytes'] - weights.stat().st_size < 2e5


def test_not_run_here(exported):
    file = exported('lgm', float16=False, normalize=True)[0]
    with pytest.raises(ValueError, match='that runs here'):
        PoseRuntime(file)
