"""The demo end to end, with tiny numbers, and its failures."""
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mmcv
import pytest

from lgm_pose_plugin.cli import demo, main

TINY = ['--images', '24', '--epochs', '1']


def run_demo(*args, **kwargs):
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'lgm_pose_plugin', 'demo', *map(str, args)],
        env=dict(os.environ, OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        **kwargs)


@pytest.fixture(scope='module')
def installed():
    try:
        demo.check_mim()
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope='module')
def finished(installed, tmp_path_factory):
    """Folder and output of a finished demo."""
    out = tmp_path_factory.mktemp('demo') / 'out'
    process = run_demo(out, *TINY)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-5000:]
    return out, output


@pytest.mark.promise('demo')
@pytest.mark.e2e
def test_demo(finished):
    out, output = finished
    assert re.search(r'Epoch\(train\) +\[1\]', output)
    assert re.search(
        r'AP on 12 unseen images: 0\.\d{3} before training, 0\.\d{3} after',
        output)
    assert f'checkpoint: {out}/work_dir/epoch_1.pth\n' in output
    assert (out / 'work_dir' / 'epoch_1.pth').is_file()
    pictures = sorted((out / 'pictures').iterdir())
    assert len(pictures) == demo.NUM_PICTURES
    width, height = (demo.PICTURE_SCALE * side for side in demo.IMAGE_SIZE)
    for path in pictures:
        assert path.name.endswith('_truth_prediction.png')
        picture = mmcv.imread(str(path))
        assert picture.shape == (height, 2 * width, 3)
    # Both panels show the same image; at least the truth is drawn on it.
    difference = picture[:, :width].astype(int) - picture[:, width:]
    assert 0.5 < (difference == 0).all(axis=2).mean() < 1


@pytest.mark.e2e
def test_failing_training_is_an_error(finished, tmp_path, monkeypatch, capfd):
    out = tmp_path / 'out'
    shutil.copytree(str(finished[0]), str(out))
    monkeypatch.setattr(demo, 'test', lambda *args: 0.)
    time_of_data = (out / 'data').stat().st_mtime
    shutil.rmtree(str(out / 'work_dir'))
    (out / 'work_dir').touch()  # so that nothing can be saved
    assert main(['demo', str(out), *TINY]) == 1
    output, error = capfd.readouterr()
    assert output.count('nothing to do') == 2
    assert (out / 'data').stat().st_mtime == time_of_data
    assert 'AP on' not in output
    assert error.splitlines()[-1] == (
        'lgm-pose demo: mim train ended with exit status 1; see its output '
        'above')
    assert 'Traceback' in output


def test_other_data_are_kept(installed, tmp_path, capfd):
    folder = tmp_path / demo.DATA_ROOT / 'train2017'
    folder.mkdir(parents=True)
    (folder / 'mine.jpg').touch()
    assert main(['demo', str(tmp_path), *TINY]) == 1
    assert 'choose another one' in capfd.readouterr().err
    assert list(folder.iterdir()) == [folder / 'mine.jpg']


def living(session):
    """Number of processes in the session of a process."""
    found = 0
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with suppress(OSError):  # it may have ended
            state, _, _, sid = stat.read_text().rsplit(')', 1)[1].split()[:4]
            found += int(sid) == session and state != 'Z'
    return found


@pytest.mark.e2e
@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='no /proc')
def test_interrupt_ends_mim_too(installed, tmp_path):
    """As Ctrl-C, which the terminal sends to all its processes."""
    process = run_demo(
        tmp_path,
        *TINY,
        start_new_session=True,
        # Not ignored, as in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    # mim and the script it has started.
    while process.poll() is None and living(process.pid) < 3:
        time.sleep(.1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert output.splitlines()[-1] == 'lgm-pose demo: interrupted'
    for _ in range(300):
        if not living(process.pid):
            break
        time.sleep(.1)
    assert not living(process.pid)


@pytest.mark.parametrize('option', ['--images', '--epochs'])
def test_numbers_start_at_one(installed, tmp_path, option, capfd):
    assert main(['demo', str(tmp_path), option, '0']) == 1
    assert 'use at least 1' in capfd.readouterr().err


def test_file_in_the_way(installed, tmp_path, capfd):
    (tmp_path / 'file').touch()
    assert main(['demo', str(tmp_path / 'file')]) == 1
    error, = capfd.readouterr().err.strip().splitlines()
    assert error.startswith('lgm-pose demo: ') and 'file' in error


def test_missing_mim(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(demo.util, 'find_spec', lambda name: None)
    assert main(['demo', str(tmp_path / 'out')]) == 1
    assert 'pip install openmim' in capfd.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_plugin_that_is_not_installed(tmp_path, monkeypatch, capfd):

    def distribution(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, 'distribution', distribution)
    assert main(['demo', str(tmp_path / 'out')]) == 1
    assert 'pip install .' in capfd.readouterr().err
    assert not (tmp_path / 'out').exists()
