"""Options of the commands, as they reach what does the work."""
import importlib.metadata
import io
import os
import signal
import sys
import time

import cv2
import numpy as np
import pytest
import torch

from lgm_pose_plugin import cli
from lgm_pose_plugin.apis import inferencer, person_detector
from lgm_pose_plugin.datasets.rendered import writer as rendered_people


class Recorder:
    """Remembers its arguments; what it returns ends the command."""

    def __call__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        raise ValueError('recorded')


@pytest.fixture
def recorder():
    return Recorder()


def test_the_command_and_its_version(capsys):
    script, = (
        entry for entry in importlib.metadata.distribution(
            'lgm_pose_plugin').entry_points if entry.name == 'lgm-pose')
    assert script.load() is cli.main
    with pytest.raises(SystemExit) as stop:
        cli.main(['--version'])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == cli.__version__


def test_export(recorder, monkeypatch, capsys):
    export = pytest.importorskip('lgm_pose_plugin.export.exporter')
    monkeypatch.setattr(export, 'export', recorder)
    assert cli.main([
        'export', 'lgm-pose', 'a.pth', '-o', 'a.xml', '--format', 'openvino',
        '--batch', '3', '--no-decode', '--no-normalize', '--dataset',
        '--samples', '2', '--int8', '--calibration-samples', '5',
        '--eval-samples', '7', '--reduce-range', '--cfg-options', 'a.b=1'
    ]) == 1
    assert recorder.args == ('lgm-pose', 'a.pth', 'a.xml')
    assert recorder.kwargs == dict(
        format='openvino',
        batch=3,
        decode=False,
        normalize=False,
        images=[],
        dataset=True,
        samples=2,
        float16=False,
        rtmlib=False,
        int8=True,
        calibration=5,
        eval_samples=7,
        reduce_range=True,
        cfg_options={'a.b': 1})


def test_render(recorder, monkeypatch):
    monkeypatch.setattr(rendered_people, 'write_dataset', recorder)
    cli.main([
        'render', 'out', '--train', '3', '--max-people', '1', '--size',
        '96x128', '--seed', '5', '--overwrite'
    ])
    assert recorder.args == ('out', 3, 5)
    assert recorder.kwargs == dict(
        split='train2017', image_size=(96, 128), max_people=1, overwrite=True)


def test_publish_half(tmp_path):
    path = tmp_path / 'net.pth'
    torch.save(dict(state_dict=dict(weight=torch.ones(2, 2))), str(path))
    for option, dtype in (([], torch.float32), (['--half'], torch.float16)):
        out = tmp_path / f'out{len(option)}'
        assert cli.main(['publish', str(path), '-o', str(out), *option]) == 0
        written, = out.iterdir()
        weights = torch.load(str(written), weights_only=True)['state_dict']
        assert weights['weight'].dtype == dtype


class Network:
    """In place of an exported file; counts and may be interrupted."""
    metadata = dict(
        decode=False, keypoint_names=['head', 'tail'], skeleton=[(0, 1)])
    interrupts, number = 0, signal.SIGINT

    def __init__(self, file, backend, threads, device):
        self.opened = (file, backend, threads)
        Network.last = self
        self.calls = []

    def predict_batch(self, images, boxes, flip_test):
        self.calls.append(flip_test)
        for _ in range(self.interrupts if len(self.calls) == 1 else 0):
            os.kill(os.getpid(), self.number)
            time.sleep(.2)  # the main thread is told
        return [(np.float32([[[20, 20], [60, 60]]] * len(some)),
                 np.full((len(some), 2), .5, np.float32)) for some in boxes]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(inferencer, 'PoseRuntime', Network)
    for name in 'abc':
        cv2.imwrite(
            str(tmp_path / f'{name}.png'), np.zeros((80, 80, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('command, expected', [
    (['detect', 'a.png'], (None, .05, None)),
    (['predict', 'a.png'], (None, .3, .3)),
    ([
        'predict', 'a.png', '--det-cat-ids', '1', '2', '--bbox-thr', '.1',
        '--nms-thr', '.7'
    ], ([1, 2], .1, .7)),
])
def test_detectors(pictures, recorder, monkeypatch, capsys, command, expected):
    for module in (person_detector, inferencer):
        monkeypatch.setattr(module, 'PersonDetector', recorder)
    assert cli.main(
        command +
        ['--detector', 'd.py', '--det-checkpoint', 'd.pth', '--device', 'cpu']
    ) == 1
    assert 'recorded' in capsys.readouterr().err
    assert recorder.args[:6] == ('d.py', 'd.pth', *expected, 'cpu')


def test_predict(pictures):
    pytest.importorskip('supervision')
    base = [
        'predict', 'a.png', '--boxes', 'whole', '--model', 'net.onnx', '-o',
        'out'
    ]
    drawn = []
    for options, opened, flip_test in (
        ([], (None, 1), False),
        (['--backend', 'openvino', '--threads', '3', '--flip-test'],
         ('openvino', 3), True),
        (['--kpt-thr', '.6'], (None, 1), False),
    ):  # yapf: disable
        assert cli.main(base + options) == 0
        assert Network.last.opened == ('net.onnx', *opened)
        assert Network.last.calls == [flip_test]
        drawn.append(cv2.imread('out/visualizations/a.png').any())
    assert drawn == [True, True, False]


@pytest.mark.parametrize('interrupts, status, done', [(1, 130, ['a']),
                                                      (2, 130, [])])
def test_interrupts_of_predict(pictures, monkeypatch, interrupts, status,
                               done):
    """After the image at hand, or at once."""
    monkeypatch.setattr(Network, 'interrupts', interrupts)
    assert cli.main([
        'predict', '.', '--boxes', 'whole', '--model', 'net.onnx', '-o', 'out',
        '--no-draw'
    ]) == status
    assert [path.stem for path in (pictures / 'out').rglob('*.json')] == done


def test_interrupts_of_other_commands(monkeypatch, capsys):

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(rendered_people, 'write_dataset', interrupt)
    assert cli.main(['render', 'out']) == 130
    assert capsys.readouterr().err == 'lgm-pose render: interrupted\n'


@pytest.mark.promise('failures-are-named')
@pytest.mark.skipif(not hasattr(signal, 'SIGHUP'), reason='Windows has none')
@pytest.mark.parametrize('ignored', [False, True])
def test_the_end_of_the_terminal(pictures, monkeypatch, ignored):
    """Keeps what is done; under nohup the run goes on."""
    monkeypatch.setattr(Network, 'interrupts', 1)
    monkeypatch.setattr(Network, 'number', signal.SIGHUP)
    handler = signal.signal(signal.SIGHUP,
                            signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        status = cli.main([
            'predict', '.', '--boxes', 'whole', '--model', 'net.onnx', '-o',
            'out', '--no-draw'
        ])
    finally:
        signal.signal(signal.SIGHUP, handler)
    assert status == (0 if ignored else 128 + signal.SIGHUP)
    done = sorted(path.stem for path in (pictures / 'out').rglob('*.json'))
    assert done == (['a', 'b', 'c'] if ignored else ['a'])


def test_results_that_cannot_be_written(pictures, capsys):
    Network.last = None
    assert cli.main([
        'predict', '.', '--boxes', 'whole', '--model', 'net.onnx', '-o',
        'a.png/x'
    ]) == 1
    assert 'cannot write in a.png' in capsys.readouterr().err
    assert Network.last is None


def test_letters_that_stdout_has_not(pictures, monkeypatch):
    pytest.importorskip('supervision')
    stdout = io.TextIOWrapper(io.BytesIO(), 'ascii')
    monkeypatch.setattr(sys, 'stdout', stdout)
    assert cli.main([
        'predict', 'a.png', '--boxes', 'whole', '--model', 'net.onnx', '-o',
        '結果', '--no-draw'
    ]) == 0
    stdout.flush()
    assert b'results: \\u7d50' in stdout.buffer.getvalue()
    monkeypatch.setattr(sys, 'stdout', io.StringIO())  # as in notebooks
    assert cli.main(
        ['predict', 'a.png', '--boxes', 'whole', '--model', 'net.onnx']) == 0
    assert sys.stdout.getvalue() == 'results: predict_out\n'


def test_interrupts_of_detect(pictures, monkeypatch):
    module = pytest.importorskip('lgm_pose_plugin.apis.person_detector')

    def detector(image):
        os.kill(os.getpid(), signal.SIGINT)
        return module.Boxes(np.float32([[1, 1, 9, 9]]), np.float32([.9]))

    monkeypatch.setattr(module, 'PersonDetector', lambda *args: detector)
    assert cli.main([
        'detect', '.', '--detector', 'd.py', '--det-checkpoint', 'd.pth',
        '--device', 'cpu', '-o', 'boxes.json'
    ]) == 130
    assert (pictures / 'boxes.json').read_text().count('bbox') == 1


def test_options_that_exclude_each_other(pictures, capsys):
    Network.last = None
    assert cli.main([
        'predict', 'a.png', '--boxes', 'whole', '--model', 'net.onnx',
        '--no-draw', '--draw-boxes'
    ]) == 1
    error = capsys.readouterr().err
    assert '--no-draw leaves out' in error and Network.last is None
