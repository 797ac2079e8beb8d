"""Exported files in programs of others."""
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.model_index import find_model, published_weights
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime

exporter = pytest.importorskip('lgm_pose_plugin.export.exporter')
pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
NAME = 'lgm-pose_body17-128x96'
SIZE = [96, 128]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A file for rtmlib, and one that returns key points."""
    folder = tmp_path_factory.mktemp('clients')
    config, weights = find_model(NAME)['Config'], published_weights(NAME)
    paths = [str(folder / name) for name in ('maps.onnx', 'pose.onnx')]
    for path, rtmlib in zip(paths, (True, False)):
        exporter.export(config, weights, path, rtmlib=rtmlib, samples=2)
    return paths


@pytest.fixture(scope='module')
def scene():
    """A picture and the box of its person."""
    image, (person, ) = render_image(np.random.default_rng(0), (320, 240), 1)
    left, top, width, height = person['bbox']
    return image, [[left, top, left + width, top + height]]


def check_client(found, scores, files, scene):
    """Clients warp people without UDP's half pixel.

    Key points differ by it and by how the maps are refined, scores are those
    of the heat maps.
    """
    image, boxes = scene
    expected, expected_scores = PoseRuntime(files[1])(image, boxes)
    assert 0 < scores.min() and scores.max() < 1.5
    np.testing.assert_allclose(scores, expected_scores, atol=0.2)
    distance = np.linalg.norm(found - expected, axis=2)
    box = np.ptp(np.reshape(boxes, (2, 2)), axis=0)
    assert np.median(distance) < 0.02 * box.max()


def test_rtmlib(files, scene):
    rtmlib = pytest.importorskip('rtmlib')
    pose = rtmlib.ViTPose(files[0], model_input_size=SIZE)
    image, boxes = scene
    check_client(*pose(image, boxes), files, scene)


def test_files_for_rtmlib_run_here(files, scene):
    """Their metadata say how rtmlib normalizes crops."""
    image, boxes = scene
    found, scores = PoseRuntime(files[0])(image, boxes)
    expected, expected_scores = PoseRuntime(files[1])(image, boxes)
    np.testing.assert_allclose(found, expected, atol=.1)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-3)


# What docs/clients.md puts into the Config.toml of Sports2D and Pose2Sim.
MODE = """{{'pose_class':'ViTPose',
         'pose_model':'{}',
         'pose_input_size':[96, 128]}}"""


def check_tracker(tracker, files, scene):
    image, ((left, top, right, bottom), ) = scene
    image = np.ascontiguousarray(image[round(top):round(bottom),
                                       round(left):round(right)])
    height, width = image.shape[:2]
    found, scores = tracker(image)
    check_client(found, scores, files, (image, [[0, 0, width, height]]))


def test_pose2sim(files, scene):
    """Sports2D calls the same two functions of Pose2Sim."""
    pose2sim = pytest.importorskip('Pose2Sim.poseEstimation')
    skeleton, model, mode = pose2sim.setup_model_class_mode(
        'COCO_17', MODE.format(files[0]))
    tracker = pose2sim.setup_pose_tracker(model, 1, mode, False, 'onnxruntime',
                                          'cpu')
    check_tracker(tracker, files, scene)


def test_custom_models_of_rtmlib(files, scene):
    """What Sports2D and Pose2Sim make of a mode that names files."""
    rtmlib = pytest.importorskip('rtmlib')
    custom = rtmlib.Custom(
        pose_class='ViTPose', pose=files[0], pose_input_size=SIZE)
    check_tracker(custom, files, scene)


def test_supervision(files, scene):
    sv = pytest.importorskip('supervision')
    image, boxes = scene
    keypoints, scores = PoseRuntime(files[1])(image, boxes)
    people = sv.KeyPoints(keypoints, keypoint_confidence=scores)
    drawn = sv.VertexAnnotator(radius=4).annotate(image.copy(), people)
    x, y = keypoints[0, scores[0].argmax()].round().astype(int)
    assert (drawn[y, x] != image[y, x]).any()


def programs(language):
    """The programs of docs/export.md."""
    page = (ROOT / 'docs' / 'export.md').read_text()
    return re.findall(rf'^```{language}\n(.*?)^```', page,
                      re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize('package, header, libraries', [
    ('onnxruntime', 'onnxruntime_cxx_api.h', 'capi/libonnxruntime.so.*'),
    ('openvino', 'openvino/openvino.hpp', 'libs/libopenvino.so.*'),
])
def test_cpp(files, scene, tmp_path, package, header, libraries):
    installed = Path(pytest.importorskip(package).__file__).parent
    library = next(installed.glob(libraries), None)
    if not (library and shutil.which('g++')):
        pytest.skip(f'needs g++ and {libraries}')
    compiler = ['g++', '-std=c++17', f'-I{installed}/include', 'pose.cpp']
    program, = (one for one in programs('cpp') if f'<{header}>' in one)
    (tmp_path / 'pose.cpp').write_text(program)
    if subprocess.run([*compiler, '-M'],
                      cwd=tmp_path,
                      stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL).returncode:
        pytest.skip(f'needs {header}, as in a folder of $CPATH')
    if package == 'onnxruntime':  # asks for another name than its file has
        (tmp_path / 'libonnxruntime.so.1').symlink_to(library)
    subprocess.run([
        *compiler, '-o', 'pose', library,
        f'-Wl,-rpath,{tmp_path}:{library.parent}'
    ],
                   cwd=tmp_path,
                   check=True)
    shutil.copy(files[1], tmp_path / 'lgm-pose.onnx')
    image, boxes = scene
    runtime = PoseRuntime(files[1])
    crops, _, _ = runtime.crop(image, boxes)
    crops.tofile(tmp_path / 'crop.bgr')
    run = subprocess.run([tmp_path / 'pose'],
                         cwd=tmp_path,
                         stdout=subprocess.PIPE,
                         check=True,
                         universal_newlines=True,
                         timeout=300)
    found = np.array([line.split() for line in run.stdout.splitlines()], float)
    keypoints, scores = runtime.predict_crops(crops)
    np.testing.assert_allclose(found[:, :2], keypoints[0], atol=.05)
    np.testing.assert_allclose(found[:, 2], scores[0], atol=1e-3)


def test_javascript(files, scene, tmp_path):
    """The program of docs/export.md, in Node.js."""
    packages = ROOT / 'web' / 'node_modules'
    if not (shutil.which('node') and (packages / 'onnxruntime-web').is_dir()):
        pytest.skip('needs Node.js and the packages of `make web`')
    image, boxes = scene
    runtime = PoseRuntime(files[1])
    crops, _, _ = runtime.crop(image, boxes)
    crops.tofile(tmp_path / 'crop')
    program, = programs('js')
    (tmp_path / 'run.mjs').write_text(
        "import { readFileSync } from 'fs';\n"
        "const [H, W] = [128, 96];\n"
        "const crop = new Uint8Array(readFileSync('crop'));\n" + program +
        'console.log(JSON.stringify([...keypoints.data, ...scores.data]));\n')
    shutil.copy(files[1], tmp_path / 'lgm-pose.onnx')
    (tmp_path / 'node_modules').symlink_to(packages)
    run = subprocess.run(['node', 'run.mjs'],
                         cwd=tmp_path,
                         stdout=subprocess.PIPE,
                         check=True,
                         timeout=300)
    found = json.loads(run.stdout.splitlines()[-1])
    keypoints, scores = runtime.predict_crops(crops)
    np.testing.assert_allclose(found[:34], keypoints.flatten(), atol=.05)
    np.testing.assert_allclose(found[34:], scores.flatten(), atol=1e-3)


@pytest.mark.parametrize('options, batch, suffix', [
    ([], 32, '.onnx'),
    (['--batch', '2', '--format', 'openvino', '--no-normalize'], 0, '.xml'),
])
def test_model_repository(tmp_path, small_network, capsys, options, batch,
                          suffix):
    pytest.importorskip('openvino')
    config, cfg_options, checkpoint = small_network('lgm')
    command = [
        'export', config, checkpoint, '--model-repository',
        str(tmp_path), '--samples', '2', *options, '--cfg-options'
    ]
    command += [f'{key}={value}' for key, value in cfg_options.items()]
    assert main(command) == 0
    folder = tmp_path / 'td-hm_lgm-pose_1xb4-2e_rendered-128x96'
    assert f'{folder}/config.pbtxt' in capsys.readouterr().out
    runtime = PoseRuntime(str(folder / '1' / f'model{suffix}'))
    assert runtime.session.batch == (None if batch else 2)
    text = (folder / 'config.pbtxt').read_text()
    assert f'max_batch_size: {batch}' in text
    triton = pytest.importorskip('tritonclient.grpc.model_config_pb2')
    from google.protobuf import text_format
    server = text_format.Parse(text, triton.ModelConfig())
    assert server.name == folder.name
    assert server.backend == ('onnxruntime' if batch else 'openvino')
    image, = server.input
    shape = [128, 96, 3] if batch else [2, 3, 128, 96]
    assert (image.name, [*image.dims]) == ('images', shape)
    assert image.data_type == triton.DataType.Value(
        'TYPE_UINT8' if batch else 'TYPE_FP32')
    outputs = {one.name: [*one.dims] for one in server.output}
    first = [] if batch else [2]
    assert outputs == dict(keypoints=[*first, 17, 2], scores=[*first, 17])
    metadata = server.parameters['lgm_pose_plugin'].string_value
    assert metadata == runtime.session.metadata


def test_servers_take_no_files_of_phones(tmp_path, small_network, capsys):
    config, _, checkpoint = small_network('lgm')
    assert main([
        'export', config, checkpoint, '--model-repository',
        str(tmp_path), '--format', 'ncnn'
    ]) == 1
    assert 'takes onnx and openvino, not ncnn' in capsys.readouterr().err
