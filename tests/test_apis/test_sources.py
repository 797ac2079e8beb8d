"""Finding and reading pictures, videos and cameras."""
import os
import shutil

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from lgm_pose_plugin.apis import sources
from lgm_pose_plugin.apis.sources import (Source, Video, count_images,
                                          find_sources, read_image)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with files that are found by their names."""
    for name in ('b.jpg', 'a.PNG', 'clip.mp4', 'notes.txt', 'deep/a.jpg',
                 'deep/deeper/c.jpg', 'other/clip.avi', 'empty/notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*specs):
    found, problems = find_sources(specs)
    assert not problems
    return [source.name for source in found]


def test_files_folders_and_patterns(folder):
    assert names('.') == ['a.PNG', 'b.jpg', 'clip.mp4']
    assert names('b.jpg', 'clip.mp4') == ['b.jpg', 'clip.mp4']
    assert names('*.jpg') == ['b.jpg']
    assert names('**/[bc].jpg') == ['b.jpg', 'c.jpg']
    kinds = [source.kind for source in find_sources(['.'])[0]]
    assert kinds == ['image', 'image', 'video']


def test_a_file_is_taken_once(folder):
    os.symlink('b.jpg', 'link.jpg')
    assert names('b.jpg', '.', './b.jpg', str(folder / 'b.jpg'),
                 'link.jpg') == ['b.jpg', 'a.PNG', 'clip.mp4']


def test_a_file_whose_name_looks_like_a_pattern(folder):
    shutil.copy('b.jpg', 'b[1].jpg')
    assert names('b[1].jpg') == ['b[1].jpg']


@pytest.mark.promise('sources-stay')
def test_same_names_keep_their_folders(folder):
    expected = [os.path.join('deep', 'a.jpg'), 'b.jpg', 'a.PNG']
    found = names('deep/a.jpg', 'b.jpg', 'a.PNG')
    assert found == expected
    assert names('clip.mp4',
                 'other') == ['clip.mp4',
                              os.path.join('other', 'clip.avi')]


@pytest.mark.promise('sources-stay')
def test_same_names_with_other_suffixes_are_numbered(folder):
    for name in ('b.png', 'b_2.jpg', 'B.webp'):
        (folder / name).touch()
    # Results of b.jpg and b.png are both called b.json.
    assert names('b.jpg', 'b.png', 'b_2.jpg',
                 'B.webp') == ['b.jpg', 'b_3.png', 'b_2.jpg', 'B_4.webp']


def test_files_on_different_drives_are_numbered(folder, monkeypatch):

    def on_windows(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, 'commonpath', on_windows)
    assert names('deep/a.jpg', 'a.PNG') == ['a.jpg', 'a_2.PNG']


def test_cameras(folder):
    found, _ = find_sources(['webcam:1', '0', 'webcam:01', 'b.jpg'])
    assert found == [
        Source('webcam', '1', 'webcam_1.mp4'),
        Source('webcam', '0', 'webcam_0.mp4'),
        Source('image', 'b.jpg', 'b.jpg')
    ]
    (folder / 'deep/webcam_0.mp4').touch()
    assert names('deep/webcam_0.mp4',
                 '0') == ['webcam_0.mp4', 'webcam_0_2.mp4']
    assert names('deep/a.jpg', '0', 'deep/deeper/../../a.PNG') == [
        os.path.join('deep', 'a.jpg'), 'webcam_0.mp4', 'a.PNG'
    ]
    (folder / '0').mkdir()
    shutil.copy('b.jpg', '0/b.jpg')
    assert [s.kind for s in find_sources(['0'])[0]] == ['image']


def test_what_is_nothing_of_it_is_told(folder):
    found, problems = find_sources(
        ['gone.jpg', '*.gif', 'empty', 'notes.txt', 'b.jpg'])
    assert [source.path for source in found] == ['b.jpg']
    for problem, start in zip(problems, [
            'gone.jpg: no such file', '*.gif: no pictures',
            'empty: no pictures', 'notes.txt: neither picture nor video'
    ]):
        assert problem.startswith(start)
    assert len(problems) == 4


def picture(dtype=np.uint8, channels=3):
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    return rng.integers(0, top, (6, 8, channels)).astype(dtype).squeeze()


@pytest.mark.promise('pictures')
@pytest.mark.parametrize('name, data', [
    ('grey.png', picture(channels=1)),
    ('deep.png', picture(np.uint16)),
    ('deep_grey.tif', picture(np.uint16, 1)),
    ('alpha.png', picture(channels=4)),
])
def test_reads_pictures_as_mmcv(tmp_path, name, data):
    path = str(tmp_path / name)
    assert cv2.imwrite(path, data)
    image = read_image(path)
    assert image.shape == (6, 8, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image, mmcv.imread(path))


@pytest.mark.promise('pictures')
def test_turns_pictures_as_exif_says(tmp_path):
    path = str(tmp_path / 'Größe.jpg')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture()).save(path, exif=exif)
    image = read_image(path)
    assert image.shape == (8, 6, 3)
    np.testing.assert_array_equal(image, mmcv.imread(path))


def test_broken_pictures(tmp_path):
    path = tmp_path / 'broken.jpg'
    for data in (b'', b'no picture'):
        path.write_bytes(data)
        with pytest.raises(ValueError, match='cannot decode'):
            read_image(str(path))
    with pytest.raises(OSError):
        read_image(str(tmp_path / 'gone.jpg'))


@pytest.fixture
def clip(tmp_path):
    path = str(tmp_path / 'clip.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 10,
                             (64, 48))
    for i in range(40):
        writer.write(np.full((48, 64, 3), 6 * i, np.uint8))
    writer.release()
    return Source('video', path, 'clip.avi')


def test_video(clip):
    video = Video(clip)
    assert video.fps == 10 and video.frames == 40
    seconds, frames = zip(*video)
    video.close()
    np.testing.assert_allclose(seconds, np.arange(40) / 10)
    levels = [frame.mean() for frame in frames]
    np.testing.assert_allclose(levels, 6 * np.arange(40), atol=2)


def test_broken_videos(clip, tmp_path):
    broken = clip._replace(path=str(tmp_path / 'broken.mp4'))
    with pytest.raises(ValueError, match='cannot open'):
        Video(broken)
    data = open(clip.path, 'rb').read()
    with open(clip.path, 'wb') as file:
        file.write(data[:len(data) // 2])
    read = []
    with pytest.raises(ValueError, match=r'only \d+ of 40 frames'):
        for _, frame in Video(clip):
            read.append(frame)
    assert 5 < len(read) < 30


def test_counts_images(clip):
    one = Source('image', 'a.jpg', 'a.jpg')
    missing = clip._replace(path='gone.mp4')
    assert count_images([one, clip, missing, one]) == 42
    assert count_images([one, Source('webcam', '0', 'webcam_0.mp4')]) is None


def test_cameras_tell_the_time_and_not_how_long(monkeypatch):

    class Camera:
        frames = 3

        def __init__(self, number):
            assert number == 7

        def isOpened(self):
            return True

        def get(self, prop):
            return -1. if prop == cv2.CAP_PROP_FRAME_COUNT else 0.

        def read(self):
            self.frames -= 1
            return self.frames >= 0, np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(sources.cv2, 'VideoCapture', Camera)
    video = Video(Source('webcam', '7', 'webcam_7.mp4'))
    assert video.frames is None and video.fps == sources.DEFAULT_FPS
    seconds = [time for time, _ in video]
    assert len(seconds) == 3 and seconds == sorted(seconds)
    assert seconds[0] != 0


@pytest.mark.parametrize('there, fails', [(40, False), (31, False), (29, True),
                                          (0, True)])
def test_estimated_lengths(monkeypatch, there, fails):
    """Up to a second, the number of frames may be wrong."""

    class Capture:

        def __init__(self, path):
            self.left = there

        def isOpened(self):
            return True

        def get(self, what):
            return 10. if what == cv2.CAP_PROP_FPS else 40. if there else 0.

        def read(self):
            self.left -= 1
            return self.left >= 0, np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(cv2, 'VideoCapture', Capture)
    video = Video(Source('video', 'a.mp4', 'a.mp4'))
    if fails:
        with pytest.raises(ValueError, match=f'only {there} of'):
            list(video)
    else:
        assert len(list(video)) == there
