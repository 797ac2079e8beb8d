"""The weights that lie in the package."""
import hashlib
import json
import re
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmpose.apis import MMPoseInferencer

from lgm_pose_plugin.apis.inferencer import DEFAULT_MODEL
from lgm_pose_plugin.apis.pose_model import PoseModel
from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.model_index import (iter_models, load_model_from_index,
                                         published_weights)
from lgm_pose_plugin.models.builder import build_model
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime

pytestmark = pytest.mark.e2e

FAST = 'lgm-pose-fast_body17-256x192'
SHIPPED = [
    model for model in iter_models()
    if model['Weights'] and '://' not in model['Weights']
]


@pytest.fixture
def offline(monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError('the network was used')

    monkeypatch.setattr(socket.socket, 'connect', refuse)


@pytest.fixture
def picture(tmp_path):
    image, _ = render_image(np.random.default_rng(0))
    path = tmp_path / 'person.png'
    assert cv2.imwrite(str(path), image)
    return path


def test_readme_has_the_figures(request):
    page = (request.config.rootpath / 'docs/weights.md').read_text()
    rows = dict(
        re.findall(r'^\| `(\S+)` \|.*?\| ([\d.]+ \| [\d.]+) \| [\d.]+ G \|$',
                   page, re.MULTILINE))
    assert rows == {
        model['Alias']:
        ' | '.join(
            f'{100 * figure:.1f}'
            for figure in list(model['Results'][0]['Metrics'].values())[:2])
        for model in SHIPPED
    }


def test_there_are_some():
    assert [model['Alias'] for model in SHIPPED] == [
        'lgm-pose_body17-128x96', 'lgm-pose_body17-256x192',
        'lgm-pose-fast_body17-256x192', 'lgm-pose_lsp-128x96',
        'lgm-pose_lsp-256x192'
    ]


@pytest.mark.promise('shipped-weights')
@pytest.mark.parametrize('model', SHIPPED, ids=lambda model: model['Alias'])
def test_file(model):
    data = Path(model['Weights']).read_bytes()
    assert len(data) < 5e6
    digest = hashlib.sha256(data).hexdigest()
    assert digest == model['Metadata']['SHA-256']
    assert f'-{digest[:8]}_' in model['Weights']
    weights = torch.load(model['Weights'], weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.promise('shipped-weights')
@pytest.mark.parametrize('model', SHIPPED, ids=lambda model: model['Alias'])
def test_no_weight_is_left_out(model):
    cfg, path = load_model_from_index(model['Alias'])
    network = build_model(cfg, path)
    for name, value in torch.load(path)['state_dict'].items():
        torch.testing.assert_close(
            network.state_dict()[name], value, check_dtype=False)


@pytest.mark.promise('shipped-weights')
def test_inferencer(offline, picture):
    inferencer = MMPoseInferencer(
        pose2d=DEFAULT_MODEL, det_model='whole_image')
    person, = next(inferencer(str(picture)))['predictions'][0]
    assert np.shape(person['keypoints']) == (17, 2)
    assert np.isfinite(person['keypoints']).all()


@pytest.mark.promise('shipped-weights')
def test_export(offline, tmp_path):
    pytest.importorskip('onnxruntime')
    out = tmp_path / 'pose.onnx'
    assert main(['export', DEFAULT_MODEL, '--samples', '1', '-o',
                 str(out)]) == 0
    keypoints, _ = PoseRuntime(str(out))(np.zeros((64, 48, 3), np.uint8),
                                         [[0, 0, 48, 64]])
    assert keypoints.shape == (1, 17, 2)


@pytest.mark.promise('shipped-weights')
@pytest.mark.parametrize('name', [DEFAULT_MODEL, FAST])
def test_exported_network(offline, name):
    """The file in the package computes what its weights do in MMPose."""
    pytest.importorskip('onnxruntime')
    runtime = PoseRuntime(name)
    assert Path(runtime.file).stat().st_size < 5e6
    model = PoseModel(
        name,
        published_weights(name),
        cfg_options={'model.test_cfg.flip_test': False})
    image, _ = render_image(np.random.default_rng(0))
    boxes = np.float32([[0, 0, *image.shape[1::-1]]])
    for found, wanted, tolerance in zip(
            runtime(image, boxes),
            model.predict_batch([image], [boxes])[0], (0.05, 1e-3)):
        np.testing.assert_allclose(found, wanted, atol=tolerance)


@pytest.mark.promise('shipped-weights')
@pytest.mark.parametrize('name', [DEFAULT_MODEL, FAST])
def test_maps_are_as_fine_as_they_are_large(name):
    """A network has a say in each pixel of its heat maps."""
    network = build_model(*load_model_from_index(name)).eval()
    with torch.no_grad():
        maps = network(torch.rand(1, 3, 256, 192), None, mode='tensor')
    assert maps.shape == (1, 17, 64, 48)
    assert (maps.diff(dim=2) != 0).all() and (maps.diff(dim=3) != 0).all()


@pytest.mark.promise('model-names')
def test_models_without_weights_want_a_checkpoint(offline, tmp_path, capsys):
    name = 'td-hm_lgm-pose_1xb32-260e_mpii-256x256'
    for command in (['export', name, '-o',
                     str(tmp_path / 'pose.onnx')],
                    ['predict', 'a.png', '--config', name]):
        assert main(command) == 1
        error = capsys.readouterr().err.strip()
        assert error == (
            f"lgm-pose {command[0]}: '{name}' is not a model with "
            'published weights; give a checkpoint')
    assert not list(tmp_path.iterdir())


@pytest.mark.promise('shipped-weights')
@pytest.mark.parametrize('network, count', [
    ([], 17),
    (['--model', DEFAULT_MODEL], 17),
    (['--config', 'lgm-pose_lsp-128x96'], 14),
])
def test_predict(offline, picture, tmp_path, monkeypatch, network, count):
    pytest.importorskip('supervision')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert main(['predict', picture.name, *network]) == 0
    people = json.loads(
        (tmp_path / 'predict_out/predictions/person.json').read_text())
    assert np.shape(people[0]['keypoints']) == (count, 2)
