"""Person detectors in exported files and in those of rtmlib's users."""
import functools
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.backbones.csp_darknet import Focus

from lgm_pose_plugin.apis.person_detector import PersonDetector
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.runtime.detector_runtime import DetectorRuntime, nms
from lgm_pose_plugin.runtime.preprocessing import letterbox

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
from lgm_pose_plugin.export.detector import export_detector  # noqa: E402
from lgm_pose_plugin.export.onnx_file import write_onnx  # noqa: E402
from lgm_pose_plugin.models.detector_model import DetectorModel  # noqa: E402

# Its sides are not multiples of anything, and the image is wider than high.
IMAGE = cv2.resize(render_image(np.random.default_rng(0))[0], (333, 251))


class Raw(torch.nn.Module):
    """YOLOX as its authors' repository exports it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        classes, boxes, objectness = self.model(images, mode='tensor')
        levels = zip(boxes, objectness, classes)
        return (torch.cat([
            torch.cat([box, obj.sigmoid(), cls.sigmoid()], 1).flatten(2)
            for box, obj, cls in levels
        ], 2).transpose(1, 2), )  # yapf: disable


def focus_of_mmdeploy(self, x):
    """MMDeploy writes YOLOX's first layer without strides."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 5, 3, 1, 2, 4)
    return self.conv(x.reshape(n, 4 * c, h // 2, w // 2))


@pytest.fixture(scope='module')
def make_file(small_detector, tmp_path_factory):
    """Write a file of rtmlib's kinds, or one of ours, once; its path."""
    folder = tmp_path_factory.mktemp('files')

    @functools.lru_cache(maxsize=None)
    def make(kind):
        path = str(folder / f'{kind}.onnx')
        if kind == 'raw':
            model = DetectorModel(*small_detector('yolox')).model.eval()
            write_onnx(
                Raw(model), torch.zeros(1, 3, 160, 160), path, ['output'],
                False)
            return path
        if kind == 'ours':
            export_detector(*small_detector('rtmdet'), path, samples=1)
            return path
        config, checkpoint = small_detector(kind.split('-')[0])
        with pytest.MonkeyPatch.context() as patch:
            if kind == 'yolox':
                patch.setattr(Focus, 'forward', focus_of_mmdeploy)
            export_detector(
                config,
                checkpoint,
                path,
                samples=1,
                batch=1,
                normalize=False,
                cat_ids=[1, 0])
        # As of MMDeploy, which writes no metadata.
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
        return path

    return make


def rtmlib_outputs(file, mean, std):
    """What rtmlib computes before its thresholds, with the ratio."""
    ratio = min(160 / IMAGE.shape[0], 160 / IMAGE.shape[1])
    canvas = np.ones((160, 160, 3), np.uint8) * 114
    size = int(IMAGE.shape[1] * ratio), int(IMAGE.shape[0] * ratio)
    canvas[:size[1], :size[0]] = cv2.resize(
        IMAGE, size, interpolation=cv2.INTER_LINEAR)
    inputs = np.float32((canvas - np.array(mean)) / np.array(std))
    session = onnxruntime.InferenceSession(
        file, providers=['CPUExecutionProvider'])
    return session.run(
        None, {session.get_inputs()[0].name: inputs.transpose(2, 0, 1)[None]
               }), ratio  # yapf: disable


@pytest.mark.e2e
@pytest.mark.promise('rtmlib-detectors')
@pytest.mark.parametrize('kind, mean, std', [
    ('rtmdet', (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
    ('yolox', (0, 0, 0), (1, 1, 1)),
    ('yolox-strides', (0, 0, 0), (1, 1, 1)),
])
def test_files_of_mmdeploy(make_file, kind, mean, std):
    file = make_file(kind)
    (dets, labels), ratio = rtmlib_outputs(file, mean, std)
    seen = dets[0, :, 4] > 0.05
    boxes, scores, found = DetectorRuntime(file)(IMAGE)
    above = scores > 0.05
    assert seen.sum() > 10
    np.testing.assert_allclose(
        boxes[above], dets[0, seen, :4] / ratio, atol=1e-3)
    np.testing.assert_allclose(scores[above], dets[0, seen, 4], atol=1e-5)
    np.testing.assert_array_equal(found[above], labels[0, seen])
    # The first class is the people.
    people = PersonDetector(file, score_thr=0.05, nms_thr=None)(IMAGE)
    np.testing.assert_array_equal(people.boxes, boxes[above & (found == 0)])


@pytest.mark.e2e
@pytest.mark.promise('rtmlib-detectors')
def test_yolox_without_nms_in_the_graph(make_file, small_detector):
    """Boxes are MMDetection's, apart from rtmlib's fractions and NMS."""
    (output, ), ratio = rtmlib_outputs(make_file('raw'), (0, 0, 0), (1, 1, 1))
    assert output.shape == (1, 400 + 100 + 25, 7)
    boxes, scores, labels = DetectorRuntime(make_file('raw'))(IMAGE)
    assert set(labels) == {0, 1} and (scores > 0.05).all()
    # By the formulas of YOLOX, box by box.
    cells = [(x, y, stride) for stride in (8, 16, 32)
             for y in range(160 // stride) for x in range(160 // stride)]
    expected = []
    for (x, y, stride), (dx, dy, w, h, obj, *classes) in zip(cells, output[0]):
        cx, cy = (x + dx) * stride, (y + dy) * stride
        w, h = np.exp(w) * stride / 2, np.exp(h) * stride / 2
        box = np.array([cx - w, cy - h, cx + w, cy + h]) / ratio
        expected += [[*box, obj * score, label]
                     for label, score in enumerate(classes)]
    expected = np.array(expected)
    assert len(boxes) > 10
    for row in np.column_stack([boxes, scores, labels]):
        difference = np.abs(expected - row)
        assert (difference < [.01] * 4 + [1e-4] * 2).all(1).any()
    for label in (0, 1):
        kept = boxes[labels == label] * ratio
        assert len(nms(kept, scores[labels == label], 0.45)) == len(kept)


def test_letterbox():
    canvas, factors = letterbox(
        np.full((100, 51, 3), 9, np.uint8), (64, 64), (1, 2, 3))
    assert factors == (33 / 51, 0.64)
    assert (canvas[:, :33] == 9).all() and (canvas[:, 33:] == (1, 2, 3)).all()
    # Thinner than a pixel.
    canvas, factors = letterbox(
        np.full((1, 900, 3), 9, np.uint8), (64, 64), (0, 0, 0))
    assert (canvas[0] == 9).all() and not canvas[1:].any()
    assert factors == (64 / 900, 1)


def test_nms_is_that_of_mmpose():
    functional = pytest.importorskip('mmpose.evaluation.functional')
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (200, 2))
    boxes = np.hstack([low, low + rng.uniform(5, 50, (200, 2))])
    scores = rng.uniform(size=200)
    for threshold in (0.1, 0.3, 0.7):
        found = nms(boxes, scores, threshold)
        assert 1 < len(found) < 200
        assert found.tolist() == functional.nms(
            np.column_stack([boxes, scores]), threshold)
    assert len(nms(boxes[:0], scores[:0], 0.5)) == 0


def identity(path, shape, **outputs):
    """A file that returns its input under any names."""
    values = [
        onnx.helper.make_tensor_value_info(name, 1, size)
        for name, size in dict(x=shape, **outputs).items()
    ]
    nodes = [
        onnx.helper.make_node('Identity', ['x'], [name]) for name in outputs
    ]
    graph = onnx.helper.make_graph(nodes, 'g', values[:1], values[1:])
    onnx.save(
        onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid('', 17)],
            ir_version=8), str(path))
    return str(path)


@pytest.mark.promise('rtmlib-detectors')
@pytest.mark.parametrize('shape, outputs', [
    ([1, 3, 64, 64], dict(dets=[1, 3, 64, 64], labels=[1, 3, 64, 64])),
    ([1, 3, 64, 64], dict(simcc_x=[1, 3, 64, 64], simcc_y=[1, 3, 64, 64])),
    ([1, 3, 64, 64], dict(output=[1, 3, 64, 64])),
    ([1, 84, 85], dict(output=[1, 84, 85])),
    ([], dict(output=[])),
    ([1, 3, 9999, 9999], dict(output=[1, 525, 85])),
])
def test_other_files_are_refused(tmp_path, shape, outputs):
    with pytest.raises(ValueError, match='is not a person detector that can'):
        DetectorRuntime(identity(tmp_path / 'a.onnx', shape, **outputs))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match='no file gone.onnx'):
        DetectorRuntime('gone.onnx')
    (tmp_path / 'a.onnx').write_bytes(b'text')
    with pytest.raises(ValueError, match='is not an ONNX file'):
        DetectorRuntime(str(tmp_path / 'a.onnx'))


@pytest.mark.parametrize('key, value, message', [
    ('task', 'pose', 'key points, which --model takes'),
    ('task', ['detection'], 'task must be pose or detection'),
    ('pad_value', [114, 114], 'pad_value must be a list of 3'),
    ('classes', [], 'classes must be a list'),
    ('score_thr', 2, 'score_thr must be a number'),
    ('max_boxes', 0, 'max_boxes must be a whole number'),
])
def test_altered_metadata(make_file, tmp_path, key, value, message):
    model = onnx.load(make_file('ours'))
    entry, = model.metadata_props
    entry.value = json.dumps({**json.loads(entry.value), key: value})
    onnx.save(model, str(tmp_path / 'a.onnx'))
    with pytest.raises(ValueError, match=message):
        DetectorRuntime(str(tmp_path / 'a.onnx'))


def test_a_pose_network_is_no_detector(network_files):
    with pytest.raises(ValueError, match='key points, which --model takes'):
        DetectorRuntime(network_files[2])


@pytest.mark.parametrize('image', [
    np.zeros((5, 5), np.uint8),
    np.zeros((5, 5, 3), np.float32),
    np.zeros((0, 5, 3), np.uint8), None
])
def test_wrong_images(make_file, image):
    with pytest.raises(ValueError, match='the image must be a BGR array'):
        DetectorRuntime(make_file('ours'))(image)


def test_weights_that_are_not_finite(make_file, tmp_path):
    model = onnx.load(make_file('raw'))
    node, = (node for node in model.graph.node if 'output' in node.output)
    node.output[0] = 'before'
    model.graph.node.append(
        onnx.helper.make_node('Mul', ['before', 'factor'], ['output']))
    factor = np.ones(7, np.float32)
    factor[2] = 1e6
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(factor, 'factor'))
    onnx.save(model, str(tmp_path / 'a.onnx'))
    with pytest.raises(ValueError, match='not finite'):
        DetectorRuntime(str(tmp_path / 'a.onnx'))(IMAGE)
