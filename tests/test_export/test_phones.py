"""Files for phones and edge devices, and files of 16 bits."""
import json
import os

import cv2
import numpy as np
import pytest

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
from lgm_pose_plugin.runtime.session import open_session

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
exporter = pytest.importorskip('lgm_pose_plugin.export.exporter')
pytestmark = pytest.mark.e2e

SUFFIXES = dict(
    onnx='.onnx',
    openvino='.xml',
    tflite='.tflite',
    ncnn='.ncnn.param',
    coreml='.mlpackage')
BOXES = [[-20, 30, 70, 250.5], [150.3, 60.7, 190, 239]]


@pytest.fixture(scope='module')
def exported(tmp_path_factory, small_network):
    """Path and report of an exported file; each is made once."""
    made = {}

    def export(name, format='onnx', **options):
        key = name, format, tuple(options.items())
        if key not in made:
            config, cfg_options, checkpoint = small_network(name)
            folder = tmp_path_factory.mktemp('exported')
            file = str(folder / f'pose{SUFFIXES[format]}')
            report = exporter.export(
                config,
                checkpoint,
                file,
                format=format,
                samples=2,
                cfg_options=cfg_options,
                **options)
            made[key] = file, report
        return made[key]

    return export


def assert_near(found, expected, pixels, score):
    """But for a key point or two whose place rounding decides."""
    distance = np.linalg.norm(found[0] - expected[0], axis=2)
    seen = expected[1] > 0
    assert seen.any()
    assert (distance[seen] > pixels).sum() <= 2
    np.testing.assert_allclose(found[1], expected[1], atol=score)


@pytest.fixture(scope='module')
def picture():
    return render_image(np.random.default_rng(0), (320, 240))[0]


def check_runtime(exported, picture, name, format, **options):
    file, report = exported(name, format, **options)
    runtime = PoseRuntime(file)
    assert runtime.metadata.items() >= report['metadata'].items()
    assert runtime.session.batch == 1
    assert report['check']['maps_max_difference'] < 1e-4
    expected = PoseRuntime(exported(name)[0])(picture, BOXES)
    assert_near(runtime(picture, BOXES), expected, .1, 1e-3)
    return file, runtime


@pytest.mark.promise('exported-files')
@pytest.mark.parametrize('name, options', [('lgm', {}), ('softmax', {}),
                                           ('lgm', dict(normalize=False)),
                                           ('lapx', {}), ('rtmpose', {})])
def test_ncnn(exported, picture, name, options):
    pytest.importorskip('pnnx')
    pytest.importorskip('ncnn')
    file, runtime = check_runtime(exported, picture, name, 'ncnn', **options)
    assert not runtime.metadata['decode']
    assert sorted(os.listdir(os.path.dirname(file))) == [
        'pose.ncnn.bin', 'pose.ncnn.json', 'pose.ncnn.param',
        'pose.ncnn.param.report.json'
    ]
    flipped = runtime(picture, BOXES, flip_test=True)
    assert flipped[0].shape == (2, 17, 2)


def test_damaged_ncnn(exported, tmp_path):
    pytest.importorskip('pnnx')
    pytest.importorskip('ncnn')
    source = os.path.splitext(exported('lgm', 'ncnn')[0])[0]
    for suffix in ('.bin', '.param', '.json'):
        with open(source + suffix, 'rb') as opened:
            (tmp_path / f'net{suffix}').write_bytes(opened.read())
    file = tmp_path / 'net.param'
    content = (tmp_path / 'net.bin').read_bytes()
    (tmp_path / 'net.bin').write_bytes(content[:-4] + b'abcd')
    with pytest.raises(ValueError, match='net.bin is not the file'):
        PoseRuntime(str(file))
    (tmp_path / 'net.json').write_text('{}')
    with pytest.raises(ValueError, match='ncnn cannot read'):
        PoseRuntime(str(file))
    (tmp_path / 'net.json').unlink()
    with pytest.raises(FileNotFoundError, match='net.json'):
        PoseRuntime(str(file))


@pytest.mark.promise('exported-files')
def test_tflite(exported, picture, tmp_path):
    pytest.importorskip('litert_torch')
    file, runtime = check_runtime(exported, picture, 'lgm', 'tflite')
    assert runtime.metadata['decode']
    assert list(runtime.session.outputs) == ['keypoints', 'scores']
    with pytest.raises(ValueError, match='has no device'):
        PoseRuntime(file, device='cuda')
    with open(file, 'rb') as opened:
        content = opened.read()
    damaged = tmp_path / 'pose.tflite'
    damaged.write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match='litert cannot read'):
        PoseRuntime(str(damaged))


def test_int8_tflite(exported, picture, tmp_path):
    pytest.importorskip('litert_torch')
    cv2.imwrite(str(tmp_path / 'person.png'), picture)
    file, report = exported(
        'lgm', 'tflite', int8=True, images=(str(tmp_path), ))
    int8 = report['int8']
    assert report['bytes'] < .5 * int8['bytes_float32']
    assert int8['calibration']['number_of_crops'] == 0
    assert int8['agreement']['near'] > .9
    runtime = PoseRuntime(file)
    assert runtime.metadata['precision'] == 'int8'
    keypoints, scores = runtime(picture, BOXES)
    expected, expected_scores = PoseRuntime(exported('lgm')[0])(picture, BOXES)
    distance = np.linalg.norm(keypoints - expected, axis=2)
    assert np.median(distance) < 1
    np.testing.assert_allclose(scores, expected_scores, atol=.05)


@pytest.mark.promise('exported-files')
@pytest.mark.parametrize('format', ['onnx', 'openvino', 'ncnn'])
def test_float16(exported, picture, format):
    pytest.importorskip(dict(ncnn='pnnx').get(format, 'openvino'))
    file, report = exported('lgm', format, float16=True)
    size = exported('lgm', format)[1]['bytes']
    assert report['bytes'] < .75 * size
    metadata = json.loads(open_session(file).metadata)
    assert metadata['precision'] == 'float16'
    expected = PoseRuntime(exported('lgm')[0])(picture, BOXES)
    # A pixel of the crop is 2 of the picture.
    assert_near(PoseRuntime(file)(picture, BOXES), expected, 1, .02)


def test_float16_onnx_keeps_what_goes_in_and_out(exported):
    graph = onnx.load(exported('lgm', float16=True)[0]).graph
    kinds = onnx.TensorProto
    assert graph.input[0].type.tensor_type.elem_type == kinds.UINT8
    assert {one.type.tensor_type.elem_type
            for one in graph.output} == {kinds.FLOAT}
    weights = [one for one in graph.initializer if len(one.dims) == 4]
    assert {one.data_type
            for one in weights if one.dims[0] > 1} == {kinds.FLOAT16}


@pytest.mark.parametrize('kwargs, match', [
    (dict(format='ncnn', batch=2), 'ncnn takes one crop'),
    (dict(format='coreml', batch=2), 'coreml takes one crop'),
    (dict(format='tflite', batch='dynamic'), 'give a number as batch'),
    (dict(format='ncnn', int8=True), 'cannot be quantised, only .* tflite'),
    (dict(format='tflite', int8=True, dataset=True,
          reduce_range=True), 'take no reduce_range'),
    (dict(int8=True, float16=True), 'choose one of int8 and float16'),
])
def test_wrong_arguments(exported, kwargs, match):
    with pytest.raises(ValueError, match=match):
        exported('lgm', **kwargs)
