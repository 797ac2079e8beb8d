"""Writing results that are whole or not there."""
import json
import os

import cv2
import numpy as np
import pytest

from lgm_pose_plugin import outputs
from lgm_pose_plugin.outputs import (VIDEO_CODECS, VideoWriter,
                                     check_inputs_kept, check_out_file,
                                     video_name, write_image, write_json)


def test_a_file_stays_until_the_new_one_is_whole(tmp_path):
    path = str(tmp_path / 'folder' / 'a.json')
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [2, object()])
    assert json.load(open(path)) == [1]
    write_json(path, [3])
    assert json.load(open(path)) == [3]
    assert os.listdir(tmp_path / 'folder') == ['a.json']


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
    with pytest.raises(FileNotFoundError, match='no folder'):
        check_out_file(str(tmp_path / 'gone' / 'a.json'))
    with pytest.raises(ValueError, match='cannot write'):
        check_out_file(str(tmp_path))
    path.touch()
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
