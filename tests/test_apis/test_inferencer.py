"""Key points of people from Python."""
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpose.apis import MMPoseInferencer

from lgm_pose_plugin.apis import PoseInferencer
from lgm_pose_plugin.datasets.rendered.scene import render_image

pytest.importorskip('onnxruntime')
ROOT = Path(__file__).resolve().parents[2]
BOXES = np.float32([[10, 10, 90, 110], [30, 20, 150, 115]])


@pytest.fixture(scope='module')
def inferencer():
    """The network of the package; each picture is a person."""
    return PoseInferencer(det_model='whole_image')


@pytest.fixture(scope='module')
def images():
    image = render_image(np.random.default_rng(0), (160, 120))[0]
    return [np.roll(image, 2 * i, 1) for i in range(6)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory, images):
    """Two pictures, and a clip of six frames at 20 per second."""
    folder = tmp_path_factory.mktemp('inputs')
    clip = cv2.VideoWriter(
        str(folder / 'clip.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 20,
        (160, 120))
    for i, image in enumerate(images):
        clip.write(image)
        if i < 2:
            cv2.imwrite(str(folder / f'{i}.png'), image)
    clip.release()
    return folder


@pytest.mark.promise('pose-inferencer')
def test_inputs(inferencer, folder, images):
    """Anything that the command line takes, arrays, and lists of these."""
    for inputs, names in (
        (folder / '0.png', ['0.png']),
        (str(folder / '*.png'), ['0.png', '1.png']),
        (images[0], ['00000000.jpg']),
        ([images[1], str(folder / 'clip.mp4'),
          images[2]], ['00000000.jpg'] + 6 * ['clip.mp4'] + ['00000001.jpg']),
        (str(folder), ['0.png', '1.png'] + 6 * ['clip.mp4']),
    ):
        results = list(inferencer(inputs))
        assert [one.source.name for one in results] == names
        assert [one.index for one in results] == list(range(len(names)))
        assert all(one.keypoints.shape == (1, 17, 2) for one in results)
    first, second = inferencer([images[1], folder / '1.png'])
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    assert inferencer.keypoint_names[0] == 'nose'


@pytest.mark.promise('pose-inferencer')
def test_results_of_a_video(inferencer, folder, images):
    pytest.importorskip('trackers')
    pytest.importorskip('supervision')
    results = list(inferencer(str(folder / 'clip.mp4'), track=True))
    assert [one.frame_id for one in results] == list(range(6))
    np.testing.assert_allclose([one.seconds for one in results],
                               np.arange(6) / 20,
                               atol=1e-3)
    assert [one.track_ids.tolist() for one in results] == [[-1]] + 5 * [[0]]
    result = results[3]
    assert result.source.path == str(folder / 'clip.mp4')
    assert result.image.shape == images[3].shape and result.fps == 20
    assert result.bboxes.tolist() == [[0, 0, 160, 120]]
    assert result.bbox_scores.shape == (1, )
    assert result.keypoint_scores.shape == (1, 17)
    before = result.image.copy()
    plain, points, box = ((result.draw(**options) != before).any(2).sum()
                          for options in (dict(kpt_thr=1), dict(kpt_thr=0),
                                          dict(kpt_thr=1, draw_bbox=True)))
    assert 0 < plain < points and plain < box  # the label of the track
    assert (result.image == before).all()


def test_arrays_are_frames_if_they_are_followed(inferencer, images):
    pytest.importorskip('trackers')
    results = list(inferencer(images, smooth=True, fps=10))
    assert [one.seconds for one in results] == [i / 10 for i in range(6)]
    assert [one.track_ids.tolist() for one in results] == [[-1]] + 5 * [[0]]
    assert all(one.track_ids is None for one in inferencer(images))


@pytest.mark.promise('predict-batches')
def test_batches_change_nothing(inferencer, images):
    boxes = [BOXES[:i % 3] for i in range(6)]
    plain = list(inferencer(images, bboxes=boxes))
    batched = list(inferencer(images, bboxes=boxes, batch_size=4))
    assert [len(one.keypoints) for one in batched] == [0, 1, 2, 0, 1, 2]
    for one, other in zip(batched, plain):
        np.testing.assert_array_equal(one.bboxes, other.bboxes)
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=.05)
        np.testing.assert_allclose(
            one.keypoint_scores, other.keypoint_scores, atol=1e-4)


def test_a_box_too_few(inferencer, images):
    results = inferencer(images, bboxes=[BOXES, BOXES])
    assert [len(next(results).bboxes) for _ in range(2)] == [2, 2]
    with pytest.raises(ValueError, match='bboxes has 2 entries'):
        next(results)


@pytest.mark.promise('pose-inferencer')
def test_writes_as_the_command_line(inferencer, folder, tmp_path):
    pytest.importorskip('supervision')
    results = list(inferencer(str(folder), out_dir=str(tmp_path)))
    assert sorted(os.listdir(
        tmp_path / 'predictions')) == ['0.json', '1.json', 'clip.json']
    assert sorted(os.listdir(
        tmp_path / 'visualizations')) == ['0.png', '1.png', 'clip.mp4']
    written = json.loads((tmp_path / 'predictions' / '0.json').read_text())
    assert written == results[0].instances()
    frames = json.loads((tmp_path / 'predictions' / 'clip.json').read_text())
    assert frames[5]['instances'] == results[-1].instances()


@pytest.mark.promise('pose-inferencer')
def test_checkpoints_give_what_mmpose_inferencer_gives(network_files,
                                                       detector_files, images):
    """With the same arguments."""
    config, weights, _ = network_files
    arguments = dict(
        pose2d=config,
        pose2d_weights=weights,
        device='cpu',
        det_model=detector_files[0],
        det_weights=detector_files[1],
        det_cat_ids=1)
    image = render_image(np.random.default_rng(1))[0]
    thresholds = dict(bbox_thr=.4, nms_thr=.5)
    expected, = MMPoseInferencer(**arguments)(image, **thresholds)
    found, = PoseInferencer(**arguments)(image, **thresholds)
    people, = expected['predictions']
    assert len(found.instances()) == len(people) > 1
    for one, other in zip(found.instances(), people):
        for key in ('keypoints', 'keypoint_scores', 'bbox', 'bbox_score'):
            np.testing.assert_allclose(
                np.squeeze(one[key]), np.squeeze(other[key]), atol=2e-3)


def test_without_a_detector_it_warns(tmp_path, monkeypatch, images):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr('lgm_pose_plugin.apis.detector_zoo.AUTO_URL',
                        'http://127.0.0.1:1/net.pth')
    with pytest.warns(UserWarning, match="no person detector .*'whole'"):
        inferencer = PoseInferencer()
    result, = inferencer(images[0])
    assert len(result.keypoints) == 1


def test_wrong_arguments(inferencer, images, network_files, tmp_path):
    for call, error, message in (
        (lambda: inferencer('gone.jpg'), ValueError, 'gone.jpg: no such file'),
        (lambda: inferencer(images, batch_size=0), ValueError,
         'batch_size is at least 1, not 0'),
        (lambda: inferencer(images, det_every=0), ValueError, 'det_every is'),
        (lambda: inferencer(images, bboxes=[[1, 2, 3]]), ValueError,
         r'\(M, 4'),
        (lambda: list(inferencer(images[0][..., 0])), ValueError,
         '00000000.jpg: the image must be a BGR array'),
        (lambda: PoseInferencer('gone.onnx'), FileNotFoundError, 'gone.onnx'),
        (lambda: PoseInferencer('gone'), ValueError, "'gone' is not a model"),
        (lambda: PoseInferencer(det_model='gone.onnx'), FileNotFoundError,
         'gone.onnx'),
        (lambda: PoseInferencer(det_weights='a.pth'), ValueError,
         'need its config'),
        (lambda: PoseInferencer(network_files[2], flip_test=True), ValueError,
         '--no-decode'),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.e2e
@pytest.mark.promise('runtime-alone')
def test_needs_no_torch(folder):
    script = textwrap.dedent('''
        import sys
        blocked = ('torch', 'torchvision', 'mmpose', 'mmengine', 'mmcv',
                   'mmdet', 'onnx', 'supervision', 'av', 'trackers')
        sys.modules.update(dict.fromkeys(blocked))
        from lgm_pose_plugin.apis import PoseInferencer
        assert 'onnxruntime' not in sys.modules
        results = list(PoseInferencer(det_model='whole')(sys.argv[1]))
        assert len(results) == 8, results
        ''')
    subprocess.run([sys.executable, '-c', script,
                    str(folder)],
                   env=dict(os.environ, PYTHONPATH=str(ROOT)),
                   check=True)
