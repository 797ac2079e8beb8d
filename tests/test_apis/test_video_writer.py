"""Drawn videos, which are whole or not there."""
import os
import sys

import cv2
import numpy as np
import pytest

from lgm_pose_plugin.apis import video_writer
from lgm_pose_plugin.apis.video_writer import (VIDEO_CODECS, VideoWriter,
                                               video_name)


@pytest.fixture(params=[True, False], ids=['PyAV', 'OpenCV'])
def writer_of_videos(request, monkeypatch):
    """``VideoWriter`` with and without PyAV."""
    if request.param:
        pytest.importorskip('av')
    else:
        monkeypatch.setitem(sys.modules, 'av.codec', None)
    return VideoWriter


@pytest.mark.parametrize('suffix', VIDEO_CODECS)
def test_video(tmp_path, writer_of_videos, suffix):
    path = str(tmp_path / 'folder' / f'clip{suffix}')
    writer = writer_of_videos(path, 12.5)
    for level in range(9):
        writer.write(np.full((48, 64, 3), 20 * level, np.uint8), level / 12.5)
        assert not os.path.exists(path)
    writer.close()
    assert os.listdir(tmp_path / 'folder') == [f'clip{suffix}']
    video = cv2.VideoCapture(path)
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    levels = [video.read()[1].mean() for _ in range(9)]
    np.testing.assert_allclose(levels, np.arange(9) * 20, atol=6)
    assert not video.read()[0]


@pytest.mark.promise('full-disk')
@pytest.mark.parametrize('suffix', VIDEO_CODECS)
def test_full_disks_keep_videos(tmp_path, full_disk, writer_of_videos, suffix):
    path = tmp_path / f'clip{suffix}'
    path.write_text('old')
    writer = writer_of_videos(str(path), 12.5)
    rng = np.random.default_rng(0)
    with full_disk(), pytest.raises(OSError, match='disk full'):
        for i in range(25):
            writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8), i / 12.5)
        writer.close()
    writer.close()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize('suffix', VIDEO_CODECS)
@pytest.mark.parametrize('fps', [
    1, 7.3, 23.976023976, 29.97, 30000 / 1001, 119.88011988, 240, 240.12345,
    999.9
])
@pytest.mark.parametrize('frames', [1, 31])
def test_whole_videos_are_kept(tmp_path, writer_of_videos, suffix, fps,
                               frames):
    path = tmp_path / f'clip{suffix}'
    writer = writer_of_videos(str(path), fps)
    for i in range(frames):
        writer.write(np.zeros((48, 64, 3), np.uint8), i / fps)
    writer.close()
    assert len(stamps(path)) == frames


def stamps(path):
    """Seconds at which the frames of a video are shown."""
    video, found = cv2.VideoCapture(str(path)), []
    while video.read()[0]:
        found.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    return found


TIMES = [0, .04, .08, .5, 1., 3., 3.04]


def write_at(writer, times=TIMES, size=(48, 64)):
    for seconds in times:
        writer.write(np.full((*size, 3), 10 + 60 * seconds, np.uint8), seconds)
    writer.close()


@pytest.mark.parametrize('suffix', ['.m4v', '.mkv', '.mov', '.mp4'])
@pytest.mark.parametrize('fps', [25, 1000])
def test_frames_keep_their_times(tmp_path, suffix, fps):
    pytest.importorskip('av')
    path = str(tmp_path / f'clip{suffix}')
    write_at(VideoWriter(path, fps))
    assert stamps(path) == pytest.approx(TIMES, abs=2e-3)
    assert cv2.VideoCapture(path).get(cv2.CAP_PROP_FPS) < 60


@pytest.mark.parametrize('suffix', VIDEO_CODECS)
def test_a_constant_rate_repeats_frames(tmp_path, monkeypatch, suffix):
    monkeypatch.setitem(sys.modules, 'av.codec', None)
    path = str(tmp_path / f'clip{suffix}')
    write_at(VideoWriter(path, 25))
    assert stamps(path) == pytest.approx(np.arange(77) / 25, abs=1e-3)
    video = cv2.VideoCapture(path)
    levels = [video.read()[1].mean() for _ in range(77)]
    for seconds in (.3, .6, 2.9, 3.):
        shown = max(time for time in TIMES if time <= seconds)
        assert levels[round(25 * seconds)] == pytest.approx(
            10 + 60 * shown, abs=6)


@pytest.mark.parametrize('size', [(48, 64), (49, 65)])
def test_browsers_play_drawn_videos(tmp_path, size):
    av = pytest.importorskip('av')
    write_at(VideoWriter(str(tmp_path / 'clip.mp4'), 25), size=size)
    with av.open(str(tmp_path / 'clip.mp4')) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name in ('h264', 'vp9')
        assert stream.codec_context.pix_fmt == 'yuv420p'
        assert (stream.width, stream.height) == (64, 48)
    # Players on the web start before they have all of it.
    data = (tmp_path / 'clip.mp4').read_bytes()
    assert data.index(b'moov') < data.index(b'mdat')


def test_names_that_are_not_utf8(tmp_path):
    writer = VideoWriter(str(tmp_path / 'caf\udce9.mp4'), 25)
    with pytest.raises(ValueError, match='surrogates'):
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    writer.close()


def test_video_without_frames_is_none(tmp_path):
    VideoWriter(str(tmp_path / 'clip.mp4'), 25).close()
    assert not os.listdir(tmp_path)


def test_frames_of_another_size(tmp_path):
    writer = VideoWriter(str(tmp_path / 'clip.mp4'), 25)
    writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    with pytest.raises(ValueError, match='32x48 follows frames of 64x48'):
        writer.write(np.zeros((48, 32, 3), np.uint8), 1)
    writer.close()


def test_video_names():
    assert video_name('a/clip.AVI') == 'a/clip.AVI'
    assert video_name('a/clip.webm') == 'a/clip.mp4'


def test_unwritable_videos(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'av.codec', None)
    monkeypatch.setitem(video_writer.VIDEO_CODECS, '.mp4', '????')
    writer = VideoWriter(str(tmp_path / 'clip.mp4'), 25)
    with pytest.raises(OSError, match='clip.mp4.*no codec'):
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    writer.close()
    assert not (tmp_path / 'clip.mp4').exists()
