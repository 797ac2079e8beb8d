"""Exported person detectors."""
import json

import numpy as np
import pytest
import torch

from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.rendered.scene import render_image

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('openvino')
from lgm_pose_plugin.apis.person_detector import PersonDetector  # noqa: E402
from lgm_pose_plugin.export import detector as export  # noqa: E402
from lgm_pose_plugin.export.graph import ExportError  # noqa: E402
from lgm_pose_plugin.runtime import DetectorRuntime, PoseRuntime  # noqa: E402

pytestmark = pytest.mark.e2e


@pytest.fixture(scope='module')
def images():
    return [render_image(np.random.default_rng(i))[0] for i in range(3)]


@pytest.mark.promise('exported-detectors')
@pytest.mark.parametrize('name', ['rtmdet', 'yolox'])
@pytest.mark.parametrize('format, file', [('onnx', 'd.onnx'),
                                          ('openvino', 'd.xml')])
def test_finds_what_mmdetection_finds(small_detector, coco_root, tmp_path,
                                      name, format, file):
    config, checkpoint = small_detector(name)
    assert main([
        'export', config, checkpoint, '--format', format, '--images',
        str(coco_root / 'val2017'), '-o',
        str(tmp_path / file)
    ]) == 0
    report = json.loads((tmp_path / f'{file}.report.json').read_text())
    check = report['check']
    assert check['number_of_images'] == 16 and check['compared_boxes'] > 500
    assert check['other_boxes'] < check['compared_boxes'] / 100
    assert check['boxes_max_difference_px'] < 0.01
    assert report['metadata']['classes'] == ['person']


def signature(file):
    graph = onnx.load(str(file)).graph
    return {
        value.name: (value.type.tensor_type.elem_type,
                     *(dim.dim_param or dim.dim_value
                       for dim in value.type.tensor_type.shape.dim))
        for value in (*graph.input, *graph.output)
    }


@pytest.mark.promise('exported-detectors')
def test_contract(small_detector, tmp_path, images):
    files, out = small_detector('yolox'), str(tmp_path / 'd.onnx')
    uint8, single, int64 = 2, 1, 7
    export.export_detector(*files, out, samples=2)
    assert signature(out) == dict(
        images=(uint8, 'batch', 160, 160, 3),
        dets=(single, 'batch', 300, 5),
        labels=(int64, 'batch', 300))
    runtime = DetectorRuntime(out)
    expected = [runtime(image) for image in images]
    with pytest.raises(ValueError, match='boxes of people, which --detector'):
        PoseRuntime(out)
    export.export_detector(
        *files, out, samples=2, batch=2, normalize=False, cat_ids=[1, 0])
    assert signature(out) == dict(
        images=(single, 2, 3, 160, 160),
        dets=(single, 2, 300, 5),
        labels=(int64, 2, 300))
    runtime = DetectorRuntime(out)
    assert runtime.classes == ['person', 'car']
    for found, wanted in zip(runtime.detect_batch(images), expected):
        people = found[2] == 0
        # The highest scores come first, and 300 boxes are of both classes.
        assert 0 < people.sum() < len(people)
        for one, other in zip(found, wanted):
            np.testing.assert_allclose(
                one[people], other[:people.sum()], atol=1e-3)


def test_the_command_finds_what_the_config_finds(small_detector, tmp_path,
                                                 images):
    files, out = small_detector('rtmdet'), str(tmp_path / 'd.onnx')
    export.export_detector(*files, out, samples=2, cat_ids=[0, 1])
    for image in images:
        found, expected = (
            PersonDetector(*detector, nms_thr=0.1)(image)
            for detector in ((out, ), files))
        assert len(found.boxes) > 0
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.promise('exported-detectors')
def test_a_wrong_file_is_not_written(small_detector, tmp_path, monkeypatch,
                                     capsys):
    monkeypatch.setattr(
        export, 'distance2bbox', lambda points, distance: torch.cat([
            points - 1 + 0 * distance[..., :2], points + distance[..., 2:]
        ], -1))
    out = tmp_path / 'd.onnx'
    assert main(['export', *small_detector('rtmdet'), '-o', str(out)]) == 1
    assert "of the file's boxes are MMDetection's" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def boxes(*rows):
    rows = np.float32(rows).reshape(-1, 5)
    return rows[:, :4], rows[:, 4], np.zeros(len(rows), np.int64)


def test_the_check_looks_at_all_boxes():
    one, two = [0, 0, 9, 9, .9], [20, 20, 29, 29, .5]
    same = export.check_boxes([boxes(one, two)], [boxes(two, one)], [1], 9)
    assert (same['compared_boxes'], same['other_boxes']) == (2, 0)
    # Of a full file lower scores may be missing.
    export.check_boxes([boxes(one, two)], [boxes(one)], [1], 1)
    for expected, found in (([one, two], [one]), ([one], [one, two]),
                            ([two], [one]), ([two], []),
                            ([one], [[0, 0, 9, 9.2,
                                      .9]]), ([one], [[0, 0, 9, 9, .88]])):
        with pytest.raises(ExportError, match='are not'):
            export.check_boxes([boxes(*expected)], [boxes(*found)], [1], 9)
    with pytest.raises(ExportError, match='no box .* --images'):
        export.check_boxes([boxes()], [boxes()], [1], 9)


@pytest.mark.parametrize('changes, message', [
    ({
        'test_dataloader.dataset.pipeline.1.keep_ratio': False
    }, 'keep_ratio'),
    ({
        'test_dataloader.dataset.pipeline.1.scale': (160, 128)
    }, 'a square'),
    ({
        'test_dataloader.dataset.pipeline.2.size': (192, 192)
    }, 'a square'),
    ({
        'model.test_cfg.nms.type': 'soft_nms'
    }, 'soft_nms.* cannot be exported'),
])
def test_other_pipelines_and_nms(detector_files, tmp_path, changes, message):
    config, checkpoint = detector_files
    with pytest.raises(ValueError, match=message):
        export.export_detector(
            config, checkpoint, str(tmp_path / 'd.onnx'), cfg_options=changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('args, message', [
    (['--int8'], '--int8 is not for detectors'),
    (['--no-decode'], '--no-decode is not for detectors'),
    (['--det-cat-ids', '2'], "{0: 'car', 1: 'person'}; choose"),
])
def test_options(detector_files, tmp_path, capsys, args, message):
    out = str(tmp_path / 'd.onnx')
    assert main(['export', *detector_files, '-o', out, *args]) == 1
    assert message in capsys.readouterr().err
