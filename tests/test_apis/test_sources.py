"""Finding and reading pictures, videos, cameras and streams."""
import functools
import http.server
import os
import shutil
import socket
import threading
import time
from fractions import Fraction

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from lgm_pose_plugin.apis import sources
from lgm_pose_plugin.apis.sources import (Source, Video, count_images,
                                          find_sources, further_frames,
                                          read_image)


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


def test_numbers_in_names_are_sorted_by_value(folder):
    for number in range(12):
        (folder / 'empty' / f'frame{number}.jpg').touch()
    expected = [f'frame{number}.jpg' for number in range(12)]
    assert names('empty') == names('empty/*.jpg') == expected


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


def test_a_camera_by_its_device(monkeypatch):
    monkeypatch.setattr(sources.osp, 'exists', lambda path: True)
    # Any character device.
    assert find_sources(['/dev/null'
                         ])[0] == [Source('webcam', '/dev/null', 'null')]


def test_addresses():
    found, _ = find_sources([
        'rtsp://me:secret@camera:554/live/main?key=1', 'http://host/a/1.png',
        'https://host/b/1.mp4?x', 'udp://@:1234'
    ])
    assert [(source.kind, source.name)
            for source in found] == [('video', 'main'), ('image', '1.png'),
                                     ('video', '1_2.mp4'), ('video', 'stream')]
    assert found[0].title == 'rtsp://camera:554/live/main'
    assert count_images(found) is None


def test_what_is_nothing_of_it_is_told(folder):
    (folder / 'deep.heic').write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0')
    (folder / 'long.txt').write_text('FFmpeg would draw this. ' * 100)
    found, problems = find_sources([
        'gone.jpg', '*.gif', 'empty', 'notes.txt', 'b.jpg', 'deep.heic',
        'long.txt', '*.txt'
    ])
    assert [source.path for source in found] == ['b.jpg']
    for problem, start in zip(problems, [
            'gone.jpg: no such file', '*.gif: no pictures',
            'empty: no pictures', 'notes.txt: is neither', 'deep.heic: is nei',
            'long.txt: is neither', 'long.txt: is', 'notes.txt: is'
    ]):
        assert problem.startswith(start)
    assert len(problems) == 8


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


@pytest.mark.parametrize('suffix', ['.avif', '.jfif', '.jp2', ''])
def test_other_formats(tmp_path, suffix):
    """By their suffix or, named one by one, by what is in them."""
    path = str(tmp_path / f'picture{suffix}')
    Image.init()
    if suffix == '.avif' and 'AVIF' not in Image.SAVE:
        pytest.skip('this Pillow writes no AVIF')
    if suffix == '.avif' and not cv2.haveImageWriter(path):
        pytest.skip('this OpenCV has no AVIF')
    Image.fromarray(picture()).save(path, {
        '.avif': 'avif',
        '.jp2': 'jpeg2000'
    }.get(suffix, 'jpeg'))
    source, = find_sources([path])[0]
    assert source.kind == 'image' and read_image(path).shape == (6, 8, 3)
    assert further_frames(path) == 0


@pytest.mark.parametrize('name', ['moving.webp', 'pages.tif', 'moving.png'])
def test_further_frames_are_counted(tmp_path, name):
    frames = [Image.fromarray(picture() // i) for i in (1, 2, 3)]
    path = str(tmp_path / name)
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert further_frames(path) == 2
    np.testing.assert_array_equal(
        read_image(path).shape,
        np.asarray(frames[0]).shape)


@pytest.mark.parametrize('frames, kind', [(1, 'image'), (3, 'video')])
def test_animations(tmp_path, frames, kind):
    if kind == 'image' and not cv2.haveImageWriter('a.gif'):
        pytest.skip('this OpenCV reads GIFs as videos alone')
    images = [Image.fromarray(picture() // i) for i in range(1, 1 + frames)]
    path = str(tmp_path / 'a.gif')
    images[0].save(path, save_all=True, append_images=images[1:], duration=400)
    source, = find_sources([path])[0]
    assert source.kind == kind
    if kind == 'image':
        assert read_image(path).shape == (6, 8, 3)
    else:
        assert [time for time, _ in Video(source)] == [0, .4, .8]


def write_video(path, times, rate, start=0.):
    """Frames at their times, in a file that tells ``rate`` per second."""
    av = pytest.importorskip('av')
    container = 'mpegts' if path.name.endswith('ts') else None
    with av.open(str(path), 'w', format=container) as file:
        stream = file.add_stream('mpeg4', rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, rate)
        packets = []
        for level, _ in enumerate(times):
            frame = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), level % 200, np.uint8), format='bgr24')
            frame.pts = level
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet, seconds in zip(packets, times):
            packet.time_base = Fraction(1, 90000)
            packet.pts = packet.dts = round((start + seconds) * 90000)
            file.mux(packet)
    return Source('video', str(path), path.name)


STEADY = np.arange(300) / 30
FALLING = np.r_[np.arange(60) / 30, 2 + np.arange(140) / 5]


@pytest.mark.parametrize('times', [STEADY, FALLING], ids=['steady', 'falling'])
@pytest.mark.parametrize('name, rate', [('a.mkv', 1000), ('a.mkv', 30),
                                        ('a.mp4', 25), ('a.mov', 60),
                                        ('a.ts', 25)])
def test_times_are_those_of_the_container(tmp_path, times, name, rate):
    """Whatever rate the header tells, and whenever the first frame is."""
    start = 20. if name.endswith('ts') else 0.
    source = write_video(tmp_path / name, times, rate, start)
    found = [seconds for seconds, _ in Video(source)]
    assert found == pytest.approx(times, abs=2e-3)


def test_cut_videos_with_a_wrong_rate(tmp_path):
    source = write_video(tmp_path / 'a.mkv', STEADY, 1000)
    data = open(source.path, 'rb').read()
    with open(source.path, 'wb') as file:
        file.write(data[:len(data) // 2])
    with pytest.raises(ValueError, match='is the video complete'):
        list(Video(source))


def test_names_with_colons(tmp_path, monkeypatch, clip):
    monkeypatch.chdir(tmp_path)
    os.rename(clip.path, '12:30:05.avi')
    source, = find_sources(['12:30:05.avi'])[0]
    assert len(list(Video(source))) == 40


@pytest.fixture
def server(tmp_path):
    """An address of the files in the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):

        def log_message(self, *args):
            pass

    served = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{served.server_port}'
    served.shutdown()
    served.server_close()


def test_files_of_a_server(server, tmp_path, clip):
    assert cv2.imwrite(str(tmp_path / 'a.png'), picture())
    video, image = find_sources([server + '/clip.avi', server + '/a.png'])[0]
    assert len(list(Video(video))) == 40
    np.testing.assert_array_equal(read_image(image.path), picture())
    with pytest.raises(OSError, match='404'):
        read_image(server + '/gone.png')
    with pytest.raises(ValueError, match='cannot open this stream'):
        Video(video._replace(path=server + '/gone.avi'))


@pytest.fixture
def stalling():
    """Start a server that sends data and then nothing; its address."""
    sockets = []

    def start(data, drop=False):
        listening = socket.create_server(('127.0.0.1', 0))
        sockets.append(listening)

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                sockets.append(connection)
                connection.sendall(data)
                if drop:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return f'127.0.0.1:{listening.getsockname()[1]}'

    yield start
    for one in sockets:
        one.close()


HEADER = b'HTTP/1.0 200 OK\r\nContent-Length: 999999\r\n\r\n'


@pytest.mark.parametrize('scheme', ['http', 'rtsp'])
def test_silent_streams_end(stalling, scheme):
    source = Source('video', f'{scheme}://{stalling(b"")}/a', 'a')
    start = time.monotonic()
    with pytest.raises(ValueError, match='cannot open .*within 0.5 seconds'):
        Video(source, .5)
    assert time.monotonic() - start < 5


# Some builds of OpenCV give what there is of a frame after the time-out.
@pytest.mark.parametrize('drop, message',
                         [(False, 'stalled: no frame for 1 |of 40 frames'),
                          (True, 'of 40 frames')])
def test_stalled_and_dropped_streams_end(stalling, clip, drop, message):
    data = open(clip.path, 'rb').read()
    address = stalling(HEADER + data[:len(data) // 2], drop)
    start, frames = time.monotonic(), []
    with pytest.raises(ValueError, match=message):
        for frame in Video(clip._replace(path=f'http://{address}/a.avi'), 1):
            frames.append(frame)
    assert 5 < len(frames) < 40 and time.monotonic() - start < 5


def test_pictures_that_never_come(stalling):
    for data in (b'', HEADER):
        with pytest.raises(OSError, match='timed out'):
            read_image(f'http://{stalling(data)}/a.png', .3)


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
    assert len(seconds) == 3 and 0 == seconds[0] < seconds[1] < seconds[2]


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
