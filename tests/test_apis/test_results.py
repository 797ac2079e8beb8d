"""Writing results that are whole or not there."""
import json
import os
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from lgm_pose_plugin.apis import results as outputs
from lgm_pose_plugin.apis.results import (VIDEO_CODECS, JsonListWriter,
                                          VideoWriter, video_name, write_image)
from lgm_pose_plugin.utils.files import (check_inputs_kept, check_out_dir,
                                         check_out_file, write_json)


@pytest.mark.promise('failures-are-named')
def test_a_file_stays_until_the_new_one_is_whole(tmp_path):
    path = str(tmp_path / 'folder' / 'a.json')
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [2, object()])
    assert json.load(open(path)) == [1]
    write_json(path, [3])
    assert json.load(open(path)) == [3]
    assert os.listdir(tmp_path / 'folder') == ['a.json']


def test_links_stay_links(tmp_path):
    (tmp_path / 'real').mkdir()
    link = tmp_path / 'link.json'
    link.symlink_to(tmp_path / 'real' / 'a.json')
    for value in (1, 2):
        write_json(str(link), value)
        assert json.loads((tmp_path / 'real' / 'a.json').read_text()) == value
    assert link.is_symlink()
    assert os.listdir(tmp_path / 'real') == ['a.json']


def test_names_as_long_as_can_be(tmp_path):
    name = 'a' * 250 + '.json'
    write_json(str(tmp_path / name), [])
    assert os.listdir(tmp_path) == [name]


def test_lists(tmp_path):
    items = [dict(a=[1, 'two\nlines'], b={}), [], 3]
    writer = JsonListWriter(str(tmp_path / 'folder' / 'a.json'))
    for item in items:
        writer.write(item)
        assert not (tmp_path / 'folder' / 'a.json').exists()
    writer.close()
    text = (tmp_path / 'folder' / 'a.json').read_text()
    assert text == json.dumps(items, indent='  ')
    assert os.listdir(tmp_path / 'folder') == ['a.json']
    JsonListWriter(str(tmp_path / 'b.json')).close()
    assert os.listdir(tmp_path) == ['folder']


@pytest.fixture
def full_disk():
    """Context in which files get no larger than 20 kB."""
    resource = pytest.importorskip('resource')

    @contextmanager
    def limited():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited


@pytest.mark.promise('full-disk')
def test_full_disks_keep_lists(tmp_path, full_disk):
    path = tmp_path / 'a.json'
    write_json(str(path), 'old')
    writer = JsonListWriter(str(path))
    with full_disk(), pytest.raises(OSError):
        for _ in range(100):
            writer.write('x' * 1000)
        writer.close()
    writer.close()
    assert json.loads(path.read_text()) == 'old'
    assert os.listdir(tmp_path) == ['a.json']


@pytest.mark.promise('full-disk')
def test_full_disks_keep_pictures(tmp_path, full_disk):
    path = str(tmp_path / 'a.png')
    write_image(path, np.zeros((2, 3, 3), np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (83, 83, 3), np.uint8)
    assert 20000 < cv2.imencode('.png', noise)[1].size < 24000
    with full_disk(), pytest.raises(OSError):
        write_image(path, noise)
    assert cv2.imread(path).shape == (2, 3, 3)
    assert os.listdir(tmp_path) == ['a.png']


@pytest.mark.promise('full-disk')
@pytest.mark.parametrize('suffix', VIDEO_CODECS)
def test_full_disks_keep_videos(tmp_path, full_disk, suffix):
    path = tmp_path / f'clip{suffix}'
    path.write_text('old')
    writer = VideoWriter(str(path), 12.5)
    rng = np.random.default_rng(0)
    with full_disk(), pytest.raises(OSError, match='disk full'):
        for _ in range(25):
            writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
        writer.close()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize('suffix', VIDEO_CODECS)
@pytest.mark.parametrize('fps', [1, 7.3, 29.97, 240])
@pytest.mark.parametrize('frames', [1, 31])
def test_whole_videos_are_kept(tmp_path, suffix, fps, frames):
    path = tmp_path / f'clip{suffix}'
    writer = VideoWriter(str(path), fps)
    for _ in range(frames):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    assert path.exists()


def test_names_that_are_not_utf8(tmp_path):
    writer = VideoWriter(str(tmp_path / 'caf\udce9.mp4'), 25)
    with pytest.raises(ValueError, match='surrogates'):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()


def test_image(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_image(str(tmp_path / 'folder' / 'a.png'), image)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / 'folder' / 'a.png')), image)
    assert os.listdir(tmp_path / 'folder') == ['a.png']


@pytest.mark.parametrize('suffix', VIDEO_CODECS)
def test_video(tmp_path, suffix):
    path = str(tmp_path / 'folder' / f'clip{suffix}')
    writer = VideoWriter(path, 12.5)
    for level in range(9):
        writer.write(np.full((48, 64, 3), 20 * level, np.uint8))
        assert not os.path.exists(path)
    writer.close()
    assert os.listdir(tmp_path / 'folder') == [f'clip{suffix}']
    video = cv2.VideoCapture(path)
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    levels = [video.read()[1].mean() for _ in range(9)]
    np.testing.assert_allclose(levels, np.arange(9) * 20, atol=6)
    assert not video.read()[0]


def test_video_without_frames_is_none(tmp_path):
    VideoWriter(str(tmp_path / 'clip.mp4'), 25).close()
    assert not os.listdir(tmp_path)


def test_frames_of_another_size(tmp_path):
    writer = VideoWriter(str(tmp_path / 'clip.mp4'), 25)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match='32x48 follows frames of 64x48'):
        writer.write(np.zeros((48, 32, 3), np.uint8))
    writer.close()


def test_video_names():
    assert video_name('a/clip.AVI') == 'a/clip.AVI'
    assert video_name('a/clip.webm') == 'a/clip.mp4'


def test_checks(tmp_path):
    path = tmp_path / 'a.json'
    check_out_file(str(path))
    path.touch()
    check_out_file(str(path))
    with pytest.raises(FileNotFoundError, match='no folder'):
        check_out_file(str(tmp_path / 'gone' / 'a.json'))
    with pytest.raises(ValueError, match='no file that can be replaced'):
        check_out_file(str(tmp_path))
    with pytest.raises(ValueError, match='no file that can be replaced'):
        check_out_file(os.devnull)
    check_out_dir(str(tmp_path / 'new' / 'folder'))
    with pytest.raises(ValueError, match='cannot write in .*a.json'):
        check_out_dir(str(tmp_path / 'a.json' / 'folder'))
    link = tmp_path / 'link.json'
    link.symlink_to(path)
    check_inputs_kept([str(path)], [str(tmp_path / 'b.json')])
    with pytest.raises(ValueError, match='a.json is read'):
        check_inputs_kept([str(path)], [str(link)])


def test_unwritable_videos(tmp_path, monkeypatch):
    monkeypatch.setitem(outputs.VIDEO_CODECS, '.mp4', '????')
    writer = VideoWriter(str(tmp_path / 'clip.mp4'), 25)
    with pytest.raises(OSError, match='cannot write .*clip.mp4'):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    assert not (tmp_path / 'clip.mp4').exists()
