"""MMPose's inference interfaces on a trained checkpoint."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmpose.apis import MMPoseInferencer, inference_topdown, init_model

from lgm_pose_plugin.checkpoint.publishing import publish_checkpoint
from .test_mim import CONFIG, config_path


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
def test_init_model_and_inference_topdown(checkpoint, picture):
    path, boxes = picture
    model = init_model(str(config_path(CONFIG)), str(checkpoint), 'cpu')
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
def test_inferencer_by_config_path(checkpoint, picture, tmp_path):
    path, _ = picture
    inferencer = MMPoseInferencer(
        pose2d=str(config_path(CONFIG)),
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


@pytest.mark.promise('base-configs')
def test_dumped_config_works_without_importing_the_plugin(
        mim, trained, picture):
    """The config that mim leaves in the work dir is complete."""
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
