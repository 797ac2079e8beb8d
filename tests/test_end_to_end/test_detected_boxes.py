"""From images to boxes to ``mim test`` with them."""
import json
import re

import pytest

from lgm_pose_plugin.cli import main
from .test_mim import CONFIG


@pytest.mark.promise('detect')
def test_mim_tests_with_detected_boxes(mim, workspace, trained, detector_files,
                                       tmp_path):
    config, checkpoint = detector_files
    boxes = tmp_path / 'boxes.json'
    assert main([
        'detect',
        str(workspace / 'data/coco/val2017'), '--det-config', config,
        '--det-checkpoint', checkpoint, '--device', 'cpu', '--bbox-thr', '0.3',
        '--nms-thr', '0.3', '--ann-file',
        str(workspace / 'data/coco/annotations/person_keypoints_val2017.json'),
        '-o',
        str(boxes)
    ]) == 0
    results = tmp_path / 'results'
    output = mim('test', 'lgm_pose_plugin', f'{CONFIG}.py', '-C', trained,
                 '--cfg-options', f'test_dataloader.dataset.bbox_file={boxes}',
                 f'test_evaluator.outfile_prefix={results}',
                 'test_evaluator.nms_mode=none',
                 'test_dataloader.num_workers=0',
                 'test_dataloader.persistent_workers=False')
    assert re.search(r'coco/AP: -?\d', output)
    detected = json.loads(boxes.read_text())
    tested = json.loads((tmp_path / 'results.keypoints.json').read_text())
    assert len(tested) == len(detected) > 0
    assert sorted(one['image_id']
                  for one in tested) == sorted(one['image_id']
                                               for one in detected)
