"""Writing results that are whole or not there."""
import json
import os
import sys
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from lgm_pose_plugin.apis import results as outputs
from lgm_pose_plugin.apis.coco_files import ImageIds
from lgm_pose_plugin.apis.results import (VIDEO_CODECS, CocoAnnotations,
                                          CocoResults, JsonListWriter,
                                          PoseResult, VideoWriter,
                                          picture_name, video_name,
                                          write_image)
from lgm_pose_plugin.apis.sources import Source
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
    writer = JsonListWriter(str(tmp_path / 'folder' / 'a.json'), '  ')
    for item in items:
        writer.write(item)
        assert not (tmp_path / 'folder' / 'a.json').exists()
    writer.close()
    text = (tmp_path / 'folder' / 'a.json').read_text()
    assert text == json.dumps(items, indent='  ')
    assert os.listdir(tmp_path / 'folder') == ['a.json']
    JsonListWriter(str(tmp_path / 'b.json'), lazy=True).close()
    assert os.listdir(tmp_path) == ['folder']
    JsonListWriter(str(tmp_path / 'b.json')).close()
    assert json.loads((tmp_path / 'b.json').read_text()) == []


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


def pictures(number, people):
    """Results of pictures called 0.png, 1.png and so on."""
    ids = ImageIds(
        dict(images=[dict(id=i, file_name=f'{i}.png') for i in range(number)]),
        'the test')
    results = [
        PoseResult(
            Source('image', f'{i}.png', f'{i}.png'), None, i / 30, 30., i,
            np.zeros((40, 60, 3), np.uint8),
            np.tile([5., 5, 30, 35], (people, 1)), np.ones(people),
            np.full((people, 2, 2), 9.), np.full((people, 2), .5))
        for i in range(number)
    ]
    return ids, results


@pytest.fixture(params=['results', 'annotations'])
def coco_file(request, tmp_path):
    """Write a file of COCO's; where it goes, and what holds the people."""

    def make(ids):
        path = str(tmp_path / 'a.json')
        if request.param == 'results':
            return CocoResults(path, ids), lambda data: data
        return CocoAnnotations(path, ids, '.', ['a', 'b'], [(0, 1)],
                               .3), lambda data: data['annotations']

    return make


@pytest.mark.parametrize('people', [0, 2])
def test_files_of_coco(tmp_path, coco_file, people):
    """Written as the run goes; an id may be 0, and there may be nobody."""
    ids, results = pictures(3, people)
    writer, people_of = coco_file(ids)
    for result in results:
        writer(result)
    assert not (tmp_path / 'a.json').exists()
    writer.close()
    data = json.loads((tmp_path / 'a.json').read_text())
    assert [one['image_id'] for one in people_of(data)
            ] == [i for i in range(3) for _ in range(people)]
    if isinstance(data, dict):
        assert [one['id'] for one in data['images']] == [0, 1, 2]
        assert data['categories'][0]['skeleton'] == [[1, 2]]
    assert os.listdir(tmp_path) == ['a.json']


@pytest.mark.promise('full-disk')
def test_full_disks_keep_files_of_coco(tmp_path, full_disk, coco_file):
    (tmp_path / 'a.json').write_text('old')
    ids, results = pictures(100, 20)
    writer, _ = coco_file(ids)
    with full_disk(), pytest.raises(OSError, match='a.json could not be wri'):
        for result in results:
            writer(result)
    # Nor with what follows, when there is space again.
    with pytest.raises(OSError, match='a.json could not be written whole'):
        writer(results[-1])
    writer.close()
    assert (tmp_path / 'a.json').read_text() == 'old'
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


@pytest.fixture(params=[True, False], ids=['PyAV', 'OpenCV'])
def writer_of_videos(request, monkeypatch):
    """``VideoWriter`` with and without PyAV."""
    if request.param:
        pytest.importorskip('av')
    else:
        monkeypatch.setitem(sys.modules, 'av.codec', None)
    return VideoWriter


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


def test_image(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_image(str(tmp_path / 'folder' / 'a.png'), image)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / 'folder' / 'a.png')), image)
    assert os.listdir(tmp_path / 'folder') == ['a.png']


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


def test_picture_names():
    assert picture_name('a/b.PNG') == 'a/b.PNG'
    assert picture_name('a/b.jfif') == 'a/b.jpg'
    assert picture_name('a.b/c') == 'a.b/c.jpg'


def test_checks(tmp_path):
    path = tmp_path / 'a.json'
    check_out_file(str(path))
    path.touch()
    check_out_file(str(path))
    with pytest.raises(FileNotFoundError, match='no folder'):
        check_out_file(str(tmp_path / 'gone' / 'a.json'))
    with pytest.raises(ValueError, match='a folder or a device'):
        check_out_file(str(tmp_path))
    with pytest.raises(ValueError, match='a folder or a device'):
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
    monkeypatch.setitem(sys.modules, 'av.codec', None)
    monkeypatch.setitem(outputs.VIDEO_CODECS, '.mp4', '????')
    writer = VideoWriter(str(tmp_path / 'clip.mp4'), 25)
    with pytest.raises(OSError, match='clip.mp4.*no codec'):
        writer.write(np.zeros((48, 64, 3), np.uint8), 0)
    writer.close()
    assert not (tmp_path / 'clip.mp4').exists()
