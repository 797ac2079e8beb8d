"""MMPose's interfaces on a checkpoint of a short training."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmpose.apis import MMPoseInferencer, inference_topdown, init_model

from lgm_pose_plugin import compat
from lgm_pose_plugin.checkpoint.publishing import publish_checkpoint

pytestmark = pytest.mark.e2e

CONFIG = 'td-hm_lgm-pose_1xb32-260e_coco-256x192'


@pytest.fixture(scope='module')
def trained(make_runner, workspace):
    """A checkpoint of one epoch, with the config in its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        make_runner(CONFIG, work_dir='work_dirs/inference').train()
    return workspace / 'work_dirs/inference/epoch_1.pth'


@pytest.fixture(params=['trained', 'published'])
def checkpoint(request, trained, tmp_path):
    """The checkpoint as MMEngine wrote it and as published."""
    if request.param == 'trained':
        return trained
    return publish_checkpoint(trained, tmp_path)


@pytest.fixture
def picture(workspace):
    """Path and boxes (xyxy) of a picture."""
    coco = workspace / 'data/coco'
    annotations = json.loads(
        (coco / 'annotations/person_keypoints_val2017.json').read_text())
    image = annotations['images'][0]
    boxes = np.array([
        annotation['bbox'] for annotation in annotations['annotations']
        if annotation['image_id'] == image['id']
    ], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    return str(coco / 'val2017' / image['file_name']), boxes


@pytest.mark.promise('inference')
def test_init_model_and_inference_topdown(checkpoint, picture, trained):
    path, boxes = picture
    model = init_model(
        str(trained.with_name(f'{CONFIG}.py')), str(checkpoint), 'cpu')
    saved = torch.load(checkpoint)['state_dict']
    for key, value in model.state_dict().items():
        assert torch.equal(value, saved[key]), key
    assert model.dataset_meta['num_keypoints'] == 17
    results = inference_topdown(model, path, boxes)
    assert len(results) == len(boxes)
    for result, box in zip(results, boxes):
        assert result.pred_instances.keypoints.shape == (1, 17, 2)
        assert np.array_equal(result.pred_instances.bboxes[0], box)


@pytest.mark.promise('inference')
def test_inferencer_by_config_path(checkpoint, picture, trained, tmp_path):
    path, _ = picture
    inferencer = MMPoseInferencer(
        pose2d=str(trained.with_name(f'{CONFIG}.py')),
        pose2d_weights=str(checkpoint),
        det_model='whole_image',
        device='cpu')
    result, = inferencer(
        path, vis_out_dir=str(tmp_path), pred_out_dir=str(tmp_path))
    person, = result['predictions'][0]
    assert np.shape(person['keypoints']) == (17, 2)
    assert len(list(tmp_path.glob('*.jpg'))) == 1


def test_inferencer_without_weights_says_what_to_do(mim):
    with pytest.raises(ValueError, match='no published weights.*pose2d='):
        MMPoseInferencer(pose2d=CONFIG, det_model='whole_image', device='cpu')


@pytest.mark.e2e
@pytest.mark.promise('base-configs')
def test_dumped_config_works_without_importing_the_plugin(trained, picture):
    """The config that a training leaves in the work dir is complete."""
    if any(x.state == 'active' for x in compat.status()[:2]):
        pytest.skip('MMPose cannot be imported before the plugin here')
    path, _ = picture
    script = ('import sys\n'
              'from mmpose.apis import inference_topdown, init_model\n'
              'model = init_model(*sys.argv[1:3], device="cpu")\n'
              'result, = inference_topdown(model, sys.argv[3])\n'
              'print(result.pred_instances.keypoints.shape)')
    output = subprocess.run([
        sys.executable, '-c', script,
        str(trained.with_name(f'{CONFIG}.py')),
        str(trained), path
    ], check=True, stdout=subprocess.PIPE, text=True).stdout  # yapf: disable
    assert '(1, 17, 2)' in output


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return exec, (f'open({self.mark!r}, "w").close()', )


def fewer_keypoints(saved, mark):
    return dict(
        state_dict={
            name: value[:14] if name.startswith('head') else value
            for name, value in saved['state_dict'].items()
        })


def with_payload(saved, mark):
    return dict(saved, payload=Payload(mark))


@pytest.mark.promise('mmengine-paths', 'foreign-weights')
@pytest.mark.parametrize('make, message', [
    (fewer_keypoints, '(?s)The checkpoint is not of the network in the config'
     ': .*size mismatch for head'),
    (with_payload, 'Weights only load failed'),
])
def test_foreign_checkpoints_are_refused(make_runner, workspace, trained,
                                         tmp_path, monkeypatch, make, message):
    if make is with_payload and not hasattr(torch.serialization,
                                            'safe_globals'):
        pytest.skip('MMEngine runs pickles on torch < 2.6')
    # Safe on this machine: it was written by this test.
    saved = torch.load(trained, weights_only=False)
    foreign, mark = tmp_path / 'foreign.pth', tmp_path / 'executed'
    torch.save(make(saved, mark), foreign)
    monkeypatch.chdir(workspace)
    with pytest.raises(Exception, match=message):
        make_runner(
            CONFIG, work_dir=str(tmp_path / 'work'),
            load_from=str(foreign)).test()
    assert not mark.exists()
