"""``lgm-pose predict``."""
import csv
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.runner import Runner
from mmpose.apis import MMPoseInferencer
from PIL import Image

from lgm_pose_plugin import cli
from lgm_pose_plugin.datasets.rendered.scene import render_image

pytest.importorskip('onnxruntime')
pytest.importorskip('supervision')
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two pictures with boxes of people, and a clip of 20 frames."""
    root = tmp_path_factory.mktemp('data')
    images, annotations = [], []
    for number in (1, 2):
        image, people = render_image(np.random.default_rng(number))
        cv2.imwrite(str(root / f'{number}.png'), image)
        images.append(dict(id=10 + number, file_name=f'{number}.png'))
        annotations += [dict(image_id=10 + number, **p) for p in people]
    (root / 'boxes.json').write_text(
        json.dumps(dict(images=images, annotations=annotations)))
    write_clip(root / 'clip.mp4', 20)
    return root


def write_clip(path, frames, size=(160, 120)):
    image = cv2.resize(render_image(np.random.default_rng(0))[0], size)
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), 20, size)
    for i in range(frames):
        writer.write(np.roll(image, i, 1))
    writer.release()


def read_video(path):
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        success, frame = video.read()
        if not success:
            return frames
        frames.append(frame)


@pytest.fixture
def predict(network_files, tmp_path):
    """Run the command with the exported network; the results' folder."""

    def run(*args, status=0, checkpoint=False, out=True):
        config, weights, exported = network_files
        network = ['--model', exported]
        if checkpoint:
            network = ['--config', config, '--checkpoint', weights]
            network += ['--device', 'cpu']
        if out:
            network += ['-o', str(tmp_path / 'out')]
        if not {'--boxes', '--box', '--detector'} & set(args):
            network += ['--boxes', 'whole']
        assert cli.main(['predict', *map(str, args), *network]) == status
        return tmp_path / 'out'

    return run


def load(path):
    return json.loads(Path(path).read_text())


def assert_same_json(found, expected):
    """The same fields in the same order, and numbers that are close."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same_json(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            assert_same_json(one, other)
    else:
        assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.promise('predict')
@pytest.mark.parametrize('name, detector', [('1.png', False), ('1.png', True),
                                            ('clip.mp4', False)])
def test_checkpoint_gives_what_mmpose_inferencer_writes(
        predict, network_files, detector_files, data, tmp_path, name,
        detector):
    kwargs = dict(det_model='whole_image')
    options = []
    if detector:
        config, checkpoint = detector_files
        kwargs = dict(
            det_model=config, det_weights=checkpoint, det_cat_ids=[1])
        options = ['--detector', config, '--det-checkpoint', checkpoint]
    inferencer = MMPoseInferencer(*network_files[:2], device='cpu', **kwargs)
    for _ in inferencer(
            str(data / name), pred_out_dir=str(tmp_path), show=False):
        pass
    out = predict(data / name, *options, checkpoint=True)
    stem = name.split('.')[0]
    expected = load(tmp_path / f'{stem}.json')
    people = expected[0]['instances'] if 'clip' in name else expected
    assert len(people) > 5 if detector else len(people) == 1
    assert_same_json(load(out / f'predictions/{stem}.json'), expected)
    # Also as text, apart from the digits.
    lines = [
        path.read_text().count('\n')
        for path in (tmp_path / f'{stem}.json',
                     out / f'predictions/{stem}.json')
    ]
    assert lines[0] == lines[1]


@pytest.mark.promise('predict')
def test_exported_file_gives_what_the_checkpoint_gives(predict, data):
    sources = [data / '1.png', data / '2.png', '--boxes', data / 'boxes.json']
    expected = [
        load(predict(*sources, checkpoint=True) / f'predictions/{i}.json')
        for i in (1, 2)
    ]
    out = predict(*sources)
    for number, people in zip((1, 2), expected):
        found = load(out / f'predictions/{number}.json')
        assert len(found) == len(people) > 0
        for one, other in zip(found, people):
            differs = np.abs(
                np.subtract(one['keypoints'], other['keypoints'])).max(1) > 0.1
            # Maxima may be tied in a network with random weights.
            assert differs.sum() <= 2
            assert one['bbox'] == other['bbox']
        drawn = cv2.imread(str(out / f'visualizations/{number}.png'))
        image = cv2.imread(str(data / f'{number}.png'))
        assert drawn.shape == image.shape
        assert 50 < (drawn != image).any(2).sum() < image[..., 0].size / 2


def test_given_boxes(predict, data):
    out = predict(data / '1.png', '--box', '-5', 10, 50, 100.5, '--box', 1, 2,
                  30, 40)
    boxes = [person['bbox'] for person in load(out / 'predictions/1.json')]
    assert boxes == [[[-5, 10, 45, 110.5]], [[1, 2, 31, 42]]]


@pytest.fixture
def no_detector(tmp_path, monkeypatch):
    """An empty cache, and a zoo that cannot be reached."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr('lgm_pose_plugin.apis.detector_zoo.AUTO_URL',
                        'http://127.0.0.1:1/net.pth')
    return tmp_path / 'cache' / 'lgm_pose_plugin'


@pytest.mark.promise('predict-finds-people')
def test_without_a_detector_the_whole_picture_is_taken(predict, data,
                                                       no_detector, capsys):
    whole = load(
        predict(data / '1.png', '--detector', 'whole') / 'predictions/1.json')
    capsys.readouterr()
    out = predict(data / '1.png', '--detector', 'auto')
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith('no person detector (http://127.0.0.1:1/net.pt')
    assert 'Connection refused' in lines[0] and "detector 'whole'" in lines[0]
    assert len(lines) == 2 and '1 images' in lines[1]
    assert load(out / 'predictions/1.json') == whole
    assert len(whole) == 1
    # Who names a model does not get something else.
    predict(data / '1.png', '--detector', 'rtmdet', status=1)
    assert 'rtmdet is not a model of MMDetection' in capsys.readouterr().err


@pytest.mark.e2e
@pytest.mark.promise('predict-finds-people')
def test_the_detector_of_the_zoo_is_exported_once(predict, data, no_detector,
                                                  detector_files, monkeypatch,
                                                  capsys):
    pytest.importorskip('onnx')
    taken = []

    def zoo_weights(name):
        taken.append(name)
        return detector_files

    monkeypatch.setattr('lgm_pose_plugin.apis.detector_zoo.zoo_weights',
                        zoo_weights)
    found = [
        load(
            predict(data / '1.png', '--detector', 'auto') /
            'predictions/1.json') for _ in range(2)
    ]
    assert taken == ['auto'] and (no_detector / 'auto.onnx').is_file()
    assert capsys.readouterr().err.count('exporting') == 1
    assert len(found[0]) > 5 and found[0] == found[1]


@pytest.mark.promise('coco-results')
def test_coco_results(predict, data, tmp_path):
    results = tmp_path / 'results.json'
    out = predict(
        data / '1.png',
        data / '2.png',
        '--boxes',
        data / 'boxes.json',
        '--coco-results',
        results,
        out=False)
    assert not out.exists()
    found = load(results)
    expected = load(data / 'boxes.json')['annotations']
    assert [person['image_id'] for person in found
            ] == [person['image_id'] for person in expected]
    assert all(
        len(person['keypoints']) == 51 and person['category_id'] == 1
        for person in found)
    predict(data / '1.png', data / '2.png', '--coco-results', results)
    assert [person['image_id'] for person in load(results)] == [1, 2]
    # Boxes of results, whose images are told by another file.
    detections = tmp_path / 'detections.json'
    detections.write_text(
        json.dumps([
            dict(image_id=12, category_id=1, bbox=[9, 9, 99, 99], score=score)
            for score in (0.9, 0.2)
        ]))
    predict(data / '1.png', data / '2.png', '--boxes', detections,
            '--ann-file', data / 'boxes.json', '--coco-results', results)
    assert [person['image_id'] for person in load(results)] == [12]


def test_table(predict, data, tmp_path):
    pytest.importorskip('trackers')
    out = predict(data / '1.png', data / 'clip.mp4', '--track', '--no-draw',
                  '--csv', tmp_path / 'a.csv')
    with open(tmp_path / 'a.csv', newline='', encoding='utf-8') as file:
        image, *frames = csv.DictReader(file)
    assert image['source'] == str(data / '1.png') and image['frame'] == ''
    assert [int(row['frame']) for row in frames] == list(range(20))
    seconds = [float(row['seconds']) for row in frames]
    assert seconds == pytest.approx(np.arange(20) / 20)
    assert [row['track_id'] for row in frames] == ['-1'] + 19 * ['0']
    person = load(out / 'predictions/clip.json')[3]['instances'][0]
    found = frames[3]
    assert [float(found[side]) for side in ('left', 'top', 'right', 'bottom')
            ] == [0, 0, 160, 120] and float(found['box_score']) == 1
    assert len(found) == 9 + 3 * 17
    for name, index in (('nose', 0), ('right_ankle', 16)):
        values = [
            float(found[f'{name}_{what}']) for what in ('x', 'y', 'score')
        ]
        assert values == pytest.approx(
            [*person['keypoints'][index], person['keypoint_scores'][index]],
            abs=1e-4)


def test_openpose(predict, data):
    out = predict(data / '1.png', data / 'clip.mp4', '--no-draw', '--openpose')
    names = sorted(os.listdir(out / 'openpose'))
    assert names == ['1_keypoints.json'
                     ] + [f'clip_{i:012}_keypoints.json' for i in range(20)]
    found, = load(out / 'openpose' / names[4])['people']
    person = load(out / 'predictions/clip.json')[3]['instances'][0]
    assert found['person_id'] == [-1] and found['face_keypoints_2d'] == []
    values = np.reshape(found['pose_keypoints_2d'], (17, 3))
    np.testing.assert_allclose(values[:, :2], person['keypoints'])
    np.testing.assert_allclose(values[:, 2], person['keypoint_scores'])


def test_annotations_to_train_on(predict, data, tmp_path, capsys,
                                 rendered_run):
    """Key points below the threshold are not labelled; a training takes the
    file."""
    path = tmp_path / 'found.json'
    out = predict(
        data / '1.png',
        data / '2.png',
        data / 'clip.mp4',
        '--boxes',
        data / 'boxes.json',
        '--coco-annotations',
        path,
        '--kpt-thr',
        .02,
        '-o',
        tmp_path / 'out',
        '--no-draw',
        status=1,
        out=False)
    assert f'relative to {data}' in capsys.readouterr().out
    found, given = load(path), load(data / 'boxes.json')
    assert [one['file_name'] for one in found['images']] == ['1.png', '2.png']
    assert [one['id'] for one in found['images']] == [11, 12]
    category, = found['categories']
    assert category['keypoints'][0] == 'nose'
    people = [
        person for i in (1, 2)
        for person in load(out / f'predictions/{i}.json')
    ]
    numbers = [
        sum(np.array(person['keypoint_scores']) > .02) for person in people
    ]
    labelled = [one['num_keypoints'] for one in found['annotations']]
    assert labelled == [number for number in numbers if number]
    assert 0 < len(labelled) <= len(given['annotations'])
    for one in found['annotations']:
        points = np.reshape(one['keypoints'], (17, 3))
        assert set(points[:, 2]) <= {0, 2
                                     } and not points[points[:, 2] == 0].any()
        assert one['bbox'][2] * one['bbox'][3] == pytest.approx(one['area'])
    dataset = rendered_run.train_dataloader.dataset
    dataset.update(
        data_root='', ann_file=str(path), data_prefix=dict(img=str(data)))
    rendered_run.train_dataloader.batch_size = 2
    rendered_run.val_dataloader = rendered_run.val_evaluator = None
    rendered_run.val_cfg = None
    runner = Runner.from_cfg(rendered_run)
    runner.train()
    assert runner.iter >= 1


def test_names_with_colons(network_files, data, tmp_path, monkeypatch):
    """FFmpeg takes what stands before one for a protocol."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(network_files[2], 'n:1.onnx')
    shutil.copy(data / 'boxes.json', 'b:1.json')
    shutil.copy(data / 'clip.mp4', '12:30:05.mp4')
    shutil.copy(data / '1.png', '1.png')
    model = ['--model', 'n:1.onnx', '-o', 'out:1']
    assert cli.main(['predict', '12:30:05.mp4', '--csv', 'c:1.csv',
                     *model]) == 0
    assert cli.main([
        'predict', '1.png', '--boxes', 'b:1.json', '--coco-results',
        'r:1.json', '--coco-annotations', 'a:1.json', *model
    ]) == 0
    assert len(read_video(tmp_path /
                          'out:1/visualizations/12:30:05.mp4')) == 20
    assert os.path.exists('c:1.csv') and load('r:1.json') and load('a:1.json')


@pytest.mark.promise('full-disk')
def test_a_full_disk_keeps_the_table(predict, data, tmp_path, capsys):
    resource = pytest.importorskip('resource')
    (tmp_path / 'a.csv').write_text('old')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, limits[1]))
    try:
        predict(
            data / 'clip.mp4',
            '--csv',
            tmp_path / 'a.csv',
            status=1,
            out=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / 'a.csv').read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.csv']


def test_draws_nothing_that_nobody_sees(predict, data, tmp_path, monkeypatch,
                                        capsys):
    # Such a drawer would fail.
    monkeypatch.setitem(sys.modules, 'supervision', None)
    results = tmp_path / 'results.json'
    predict(data / '1.png', '--coco-results', results, out=False)
    assert len(load(results)) == 1
    # Where something is to be drawn, it does.
    predict(data / '1.png', '--coco-results', results, status=1)
    error = capsys.readouterr().err
    assert 'supervision' in error and 'install it with pip' in error


def test_video(predict, data):
    pytest.importorskip('trackers')
    out = predict(data / 'clip.mp4', '--smooth', '--draw-boxes')
    frames = load(out / 'predictions/clip.json')
    assert [frame['frame_id'] for frame in frames] == list(range(20))
    ids = [frame['instances'][0]['track_id'] for frame in frames]
    assert ids[0] == -1 and len(set(ids[1:])) == 1 and ids[1] >= 0
    drawn = read_video(out / 'visualizations/clip.mp4')
    assert len(drawn) == 20
    original = read_video(data / 'clip.mp4')
    assert np.abs(drawn[5].astype(int) - original[5]).max() > 50
    plain = predict(data / 'clip.mp4', '--no-draw', '--det-every', 4)
    frames = load(plain / 'predictions/clip.json')
    assert 'track_id' not in frames[0]['instances'][0]
    assert frames[4]['instances'][0]['bbox'] == [[0, 0, 160, 120]]
    assert frames[5]['instances'][0]['bbox'] != [[0, 0, 160, 120]]


@pytest.mark.parametrize('options', [('--track', ), ('--smooth', ),
                                     ('--det-every', 5)])
def test_pictures_of_a_folder_are_frames(predict, data, tmp_path, options):
    """In the order of their numbers."""
    if options[0] != '--det-every':
        pytest.importorskip('trackers')
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        for i, frame in enumerate(read_video(data / 'clip.mp4')[:11]):
            cv2.imwrite(str(tmp_path / folder / f'{i}.png'), frame)
    out = predict(tmp_path / 'a', tmp_path / 'b', '--no-draw', *options)
    for folder in 'ab':
        first, *others = [
            load(out / f'predictions/{folder}/{i}.json')[0] for i in range(11)
        ]
        if options[0] == '--det-every':
            whole = [first['bbox'] == one['bbox'] for one in others]
            assert whole[4] and whole[9] and not whole[5]
        else:
            assert first['track_id'] == -1
            assert {one['track_id'] for one in others} == {0}


def test_what_is_told_is_no_failure(predict, data, tmp_path, capsys):
    frames = [Image.new('RGB', (64, 48), (i, i, i)) for i in range(3)]
    frames[0].save(tmp_path / 'a.tif', save_all=True, append_images=frames[1:])
    predict(tmp_path / 'a.tif')
    assert 'a.tif: the first of 3 frames or pages; 2 are left out' in (
        capsys.readouterr().err)


@pytest.mark.promise('failures-are-named')
def test_same_names_and_failures(predict, data, tmp_path, capsys):
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        (tmp_path / folder / '1.png').write_bytes(
            (data / '1.png').read_bytes())
    (tmp_path / 'a' / 'broken.jpg').write_bytes(b'broken')
    (tmp_path / 'a' / 'broken.mp4').write_bytes(b'broken')
    out = predict(
        tmp_path / 'a',
        tmp_path / 'b',
        'gone.jpg',
        '*.gone',
        'webcam:99',
        status=1)
    errors = capsys.readouterr().err
    for name in ('a/broken.jpg: OpenCV cannot decode',
                 'a/broken.mp4: OpenCV cannot open', 'gone.jpg: no such file',
                 '*.gone: no pictures', 'webcam:99: cannot open this camera',
                 '2 images', '5 failed'):
        assert name in errors
    written = {
        str(path.relative_to(out))
        for path in out.rglob('*') if path.is_file()
    }
    assert written == {
        'predictions/a/1.json', 'predictions/b/1.json',
        'visualizations/a/1.png', 'visualizations/b/1.png'
    }


@pytest.mark.promise('sources-stay')
def test_sources_are_not_replaced(predict, data, tmp_path, capsys):
    folder = tmp_path / 'out' / 'visualizations'
    folder.mkdir(parents=True)
    content = (data / '1.png').read_bytes()
    (folder / '1.png').write_bytes(content)
    predict(folder / '1.png', status=1)
    assert 'is read, and a result would replace it' in capsys.readouterr().err
    predict(
        folder / '1.png',
        '--coco-results',
        folder / '1.png',
        status=1,
        out=False)
    assert (folder / '1.png').read_bytes() == content


@pytest.mark.parametrize('args, message', [
    (['1.png', '--checkpoint', 'a.pth'], 'needs --config'),
    (['1.png', '--boxes', 'whole', '--det-checkpoint', 'a.pth'
      ], 'needs a config as --detector'),
    (['1.png', '--detector', 'a.py'], 'a config needs a checkpoint'),
    (['1.png', '--detector', 'a.onnx', '--det-checkpoint', 'a.pth'
      ], 'is for a config, not for a.onnx'),
    (['1.png', '--config', 'a.py'], 'either --model'),
    (['1.png', '--box', '1', '2', '3', '4', '--boxes', 'a.json'], 'only one'),
    (['1.png', '--box', '1', '2', '0', '4'], 'width and height above 0'),
    (['1.png', '--det-every', '0'], 'at least 1, not 0'),
    (['1.png', '--fps', '0'], '--fps is above 0, not 0.0'),
    (['1.png', '--timeout', '-1'], '--timeout is above 0, not -1.0'),
    (['1.png', '--show'], 'no display'),
    (['1.png', '--show', '--no-draw'], '--no-draw'),
    (['1.png', '--boxes', 'gone.json'
      ], "No such file or directory: 'gone.json'"),
    (['1.png', '--flip-test'], '--no-decode'),
    (['1.png', '--coco-results', 'gone/a.json'], 'no folder gone'),
    (['clip.mp4', '--coco-results', 'a.json'], 'there are none'),
    (['1.png', '--cfg-options', 'a=1'], 'needs --config'),
    (['1.png', '--device', 'cuda'], 'needs onnxruntime-gpu'),
])
def test_wrong_arguments(predict, data, tmp_path, monkeypatch, capsys, args,
                         message):
    monkeypatch.chdir(data)
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    before = set(data.iterdir())
    out = predict(*args, status=1)
    assert message in capsys.readouterr().err
    assert not out.exists() and set(data.iterdir()) == before


@pytest.mark.parametrize('args', [('--threads', '1'),
                                  ('--backend', 'openvino')])
def test_runtimes_are_for_exported_files(data, capsys, args):
    assert cli.main(
        ['predict',
         str(data / '1.png'), '--config', 'any.py', *args]) == 1
    assert '--backend and --threads are for' in capsys.readouterr().err


def test_show(predict, data, monkeypatch, capsys):
    shown, keys = [], [ord('a'), -1, ord('q')]
    monkeypatch.setenv('DISPLAY', ':0')
    for name, function in (('namedWindow', lambda *args: None),
                           ('imshow', lambda name, image: shown.append(image)),
                           ('waitKey', lambda wait: keys.pop(0)),
                           ('destroyAllWindows', lambda: None)):
        monkeypatch.setattr(cv2, name, function)
    out = predict(data / 'clip.mp4', data / '1.png', '--show', out=False)
    assert [image.shape for image in shown] == [(120, 160, 3)] * 3
    assert not out.exists() and '3 images' in capsys.readouterr().err

    def headless(*args):
        raise cv2.error('not implemented')

    monkeypatch.setattr(cv2, 'namedWindow', headless)
    predict(data / '1.png', '--show', status=1)
    assert 'opencv-python-headless' in capsys.readouterr().err


@pytest.mark.promise('one-line-errors')
def test_wrong_networks(network_files, detector_files, data, capsys):
    config, checkpoint, _ = network_files
    for args, message in (
        (['--model', checkpoint], 'neither a file of'),
        (['--model', 'gone.onnx'], 'no file gone.onnx'),
        (['--config', config, '--checkpoint', 'gone.pth'], 'gone.pth'),
        (['--config', config, '--checkpoint',
          detector_files[1]], 'is not a checkpoint of'),
        (['--config', detector_files[0], '--checkpoint',
          checkpoint], 'does not define a top-down'),
        ([
            '--config', config, '--checkpoint', checkpoint, '--device',
            'cuda:99'
        ], 'the device cuda:99 cannot be used: '),
    ):
        assert cli.main(['predict', str(data / '1.png'), *args]) == 1
        assert message in capsys.readouterr().err


def start(args, **kwargs):
    # The network's threads are counted by --threads.
    return subprocess.Popen(
        [sys.executable, '-m', 'lgm_pose_plugin', 'predict', *map(str, args)],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        **kwargs)


@pytest.mark.e2e
@pytest.mark.promise('failures-are-named')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_video_is_playable(network_files, tmp_path, number):
    write_clip(tmp_path / 'clip.mp4', 6000, (64, 48))
    out = tmp_path / 'out'
    process = start([
        tmp_path / 'clip.mp4', tmp_path / 'gone.jpg', '--model',
        network_files[2], '--boxes', 'whole', '-o', out
    ])
    deadline = time.monotonic() + 120
    while not list(out.glob('visualizations/.partial*')):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    assert 'stopped' in errors and 'Traceback' not in errors
    assert os.listdir(out / 'visualizations') == ['clip.mp4']
    frames = load(out / 'predictions/clip.json')
    assert 0 < len(frames) < 6000
    assert len(read_video(out / 'visualizations/clip.mp4')) == len(frames)


@pytest.mark.e2e
@pytest.mark.promise('runtime-alone')
def test_exported_files_need_no_torch(network_files, detector_files, data,
                                      tmp_path):
    from lgm_pose_plugin.export.detector import export_detector
    detector = str(tmp_path / 'detector.onnx')
    export_detector(*detector_files, detector, samples=1)
    script = textwrap.dedent('''
        import sys
        blocked = ('torch', 'torchvision', 'mmpose', 'mmengine', 'mmcv',
                   'mmdet', 'onnx')
        sys.modules.update(dict.fromkeys(blocked))
        sys.argv[0] = 'lgm-pose'
        from lgm_pose_plugin.cli import main
        status = main(['predict', *sys.argv[1:]])
        found = [name for name in sys.modules
                 if name.split('.')[0] in blocked and sys.modules[name]]
        assert not found, found
        sys.exit(status)
        ''')
    tracking = ['--track', '--smooth'] if find_spec('trackers') else []
    result = subprocess.run([
        sys.executable, '-c', script, data / 'clip.mp4', data / '1.png',
        '--model', network_files[2], '--detector', detector, *tracking, '-o',
        tmp_path / 'out', '--coco-results', tmp_path / 'c.json'
    ],
                            env=dict(os.environ, PYTHONPATH=str(ROOT)),
                            stderr=subprocess.PIPE,
                            universal_newlines=True)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / 'out').rglob('*.*'))) == 4
    assert len(load(tmp_path / 'out/predictions/1.json')) > 1
    assert '21 images' in result.stderr
    # The bar is for terminals.
    assert '\r' not in result.stderr


@pytest.mark.e2e
def test_progress_bar_in_a_terminal(network_files, data, tmp_path):
    fcntl, pty, termios = (
        pytest.importorskip(name) for name in ('fcntl', 'pty', 'termios'))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('4H', 24, 80, 0, 0))
    process = subprocess.Popen([
        sys.executable, '-m', 'lgm_pose_plugin', 'predict',
        str(data / 'clip.mp4'), '--model', network_files[2], '--boxes',
        'whole', '--no-draw', '-o',
        str(tmp_path)
    ],
                               env=dict(os.environ, PYTHONPATH=str(ROOT)),
                               stderr=theirs)
    assert process.wait(timeout=120) == 0
    os.close(theirs)
    shown = os.read(ours, 100000).decode()
    os.close(ours)
    assert '20/20' in shown and 'image/s' in shown
