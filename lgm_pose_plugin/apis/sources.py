"""Pictures, videos, cameras and streams to run a network on.

Needs NumPy and OpenCV alone.
"""
import glob
import math
import os
import os.path as osp
import re
import stat
import time
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from typing import (Any, Container, DefaultDict, Dict, Generator, Iterator,
                    List, NamedTuple, Optional, Sequence, Set, Tuple, Union)
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import IMAGE_SUFFIXES

# .gif is one if it has several frames.
VIDEO_SUFFIXES = ('.3g2', '.3gp', '.asf', '.avi', '.flv', '.gif', '.m2ts',
                  '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts',
                  '.mxf', '.ogv', '.ts', '.vob', '.webm', '.wmv', '.y4m')
# Brands of HEIC, which FFmpeg takes for a video of the picture's tiles.
_HEIC = (b'heic', b'heim', b'heis', b'heix', b'mif1')
DEFAULT_FPS = 30.  # where a camera or a file tells no rate
LOG_LEVEL_ERROR = 2  # of OpenCV
TIMEOUT = 10.  # seconds that a stream may give nothing
# What makes a source fail. Memory is one of runtimes' errors, and one of its
# own of NumPy.
ERRORS = (MemoryError, OSError, RuntimeError, ValueError, cv2.error)


class Source(NamedTuple):
    """A picture, a video or a camera.

    Attributes:
        kind (str): ``'image'``, ``'video'`` or ``'webcam'``.
        path (str): Path or URL of the file or stream, or the camera's number
            or device.
        name (str): Relative path that no other source has, not even with
            another suffix; for names of results.
        image (np.ndarray, optional): The picture, of those that are no files:
            BGR, uint8 of shape ``(H, W, 3)``.
    """
    kind: str
    path: str
    name: str
    image: Optional[np.ndarray] = None

    @property
    def title(self) -> str:
        """What to call it in messages: without a URL's secrets."""
        if self.path.isdecimal() and self.kind == 'webcam':
            return f'webcam:{self.path}'
        if not is_url(self.path):
            return self.path
        url = urlsplit(self.path)
        return f'{url.scheme}://{url.netloc.rpartition("@")[2]}{url.path}'


@dataclass(eq=False)
class Frame:
    """A picture, or a frame of a video.

    Attributes:
        source (Source): What it is or is of.
        frame_id (int, optional): Its number in the video, from 0; ``None``
            for a picture.
        seconds (float): Its time, from 0.
        fps (float): Frames per second, as the video says.
        index (int): Its number among the frames of all sources, from 0;
            pictures that cannot be read count.
        image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
    """
    source: Source
    frame_id: Optional[int]
    seconds: float
    fps: float
    index: int
    image: np.ndarray


class Failure(NamedTuple):
    """A source that failed.

    Attributes:
        source (Source): The source.
        error (Exception): One of ``ERRORS``.
    """
    source: Source
    error: Exception


def quiet_opencv() -> None:
    """Keep OpenCV and its FFmpeg from logging what is raised as an error."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # FFmpeg's "quiet"
    # Which is in cv2 itself before OpenCV 4.12.
    getattr(cv2.utils, 'logging', cv2).setLogLevel(LOG_LEVEL_ERROR)


def is_url(spec: str) -> bool:
    """Whether a source is an address, as ``'rtsp://camera/stream'``."""
    return re.match(r'[a-z][a-z0-9+.-]*://', spec, re.I) is not None


def find_sources(
    specs: Sequence[Union[str, 'os.PathLike[str]', np.ndarray]]
) -> Tuple[List[Source], List[str]]:
    """List what is meant by files, folders, patterns, cameras and URLs.

    Args:
        specs (Sequence): Paths of pictures and videos, folders (their
            pictures and videos, not those of folders inside), patterns as
            ``'*/*.jpg'`` (``**`` for any folders), ``'webcam:0'``, ``'0'`` or
            a camera's device, URLs as ``'rtsp://camera/stream'``; and
            pictures as arrays.

    Returns:
        tuple[list[Source], list[str]]: The sources, each once, in the given
        order, those of a folder or pattern by name, numbers in it by value;
        and a line for each argument that is none of these.
    """
    found: Dict[str, Tuple[str, str]] = {}
    images: Dict[str, np.ndarray] = {}
    problems = []
    for spec in specs:
        if isinstance(spec, np.ndarray):
            path = f'{len(images):08}.jpg'  # as MMPose's inferencers name it
            found[path], images[path] = ('image', path), spec
            continue
        spec = os.fspath(spec)
        camera = re.fullmatch(r'(?:webcam:)?(\d+)', spec)
        paths = [spec]
        if camera and not osp.exists(spec):
            number = str(int(camera.group(1)))
            found[f'webcam:{number}'] = ('webcam', number)
            continue
        if is_url(spec):
            found[spec] = (_kind(urlsplit(spec).path) or 'video', spec)
            continue
        named = osp.exists(spec)
        if osp.isdir(spec):
            named = False
            paths = [
                osp.join(spec, name)
                for name in sorted(os.listdir(spec), key=_by_number)
                if _kind(name)
            ]
        elif not named and glob.has_magic(spec):
            paths = sorted(glob.glob(spec, recursive=True), key=_by_number)
        paths = [path for path in paths if not osp.isdir(path)]
        if not paths:
            problems.append(f'{spec}: no pictures or videos there')
        for path in paths:
            if not osp.exists(path):
                problems.append(f'{path}: no such file or folder')
                continue
            kind = _kind(path)
            if kind == 'video' and path.lower().endswith('.gif'):
                kind = 'image' if cv2.imcount(path) == 1 else 'video'
            elif not kind and named:
                kind = _kind_by_content(path)
            if kind:
                found.setdefault(osp.realpath(path), (kind, path))
            else:
                problems.append(
                    f'{path}: is neither a picture nor a video that OpenCV '
                    'can read; convert it, for instance to JPEG or MP4')
    names = _distinct_names(list(found.values()))
    return [
        Source(kind, path, name, images.get(key))
        for (key, (kind, path)), name in zip(found.items(), names)
    ], problems


def _by_number(name: str) -> List[Any]:
    """Sort key by which 10.png comes after 9.png."""
    parts = re.split(r'(\d+)', name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def _kind(path: str) -> str:
    suffix = osp.splitext(path)[1].lower()
    return ('image' if suffix in IMAGE_SUFFIXES else
            'video' if suffix in VIDEO_SUFFIXES else '')


def _kind_by_content(path: str) -> str:
    """The kind of a file whose name does not tell it."""
    with suppress(OSError):
        if stat.S_ISCHR(os.stat(path).st_mode):
            return 'webcam'
        with open(path, 'rb') as file:
            start = file.read(512)
        if start[8:12] in _HEIC:
            return ''
        if cv2.haveImageReader(path):
            return 'image'
        # FFmpeg draws texts, too.
        if b'\0' in start:
            with suppress(ValueError), closing(
                    Video(Source('video', path, ''))):
                return 'video'
    return ''


def common_folder(paths: Sequence[str]) -> str:
    """Find the folder that holds all of some files.

    Args:
        paths (Sequence[str]): The files, at least one.

    Returns:
        str: Its absolute path.

    Raises:
        ValueError: If they are on different drives.
    """
    return osp.commonpath([osp.dirname(osp.abspath(path)) for path in paths])


def _is_file(kind: str, path: str) -> bool:
    return kind != 'webcam' and not is_url(path)


def _distinct_names(sources: List[Tuple[str, str]]) -> List[str]:
    """Base names, or paths below the common folder where those clash."""

    def stems(names: List[str]) -> List[str]:
        return [osp.splitext(name)[0].casefold() for name in names]

    def name_of(kind: str, path: str) -> str:
        if kind == 'webcam' and path.isdecimal():
            return f'webcam_{path}.mp4'
        if is_url(path):
            url = urlsplit(path)
            path = unquote(url.path).rstrip('/') or url.hostname or 'stream'
            path = re.sub(r'[\\:*?"<>|\0-\x1f]', '_', path)
        return osp.basename(path)

    names = [name_of(kind, path) for kind, path in sources]
    if len(set(stems(names))) < len(names):
        files = [path for kind, path in sources if _is_file(kind, path)]
        # Files on different drives have no common folder, but numbers below.
        with suppress(ValueError):
            folder = common_folder(files)
            names = [
                osp.relpath(path, folder) if _is_file(kind, path) else name
                for name, (kind, path) in zip(names, sources)
            ]
    wanted = stems(names)
    seen: Set[str] = set()
    for i, name in enumerate(names):
        base, suffix = osp.splitext(name)
        if wanted[i] in seen:
            base = next(
                numbered for numbered in (f'{base}_{k}' for k in count(2))
                if numbered.casefold() not in seen.union(wanted))
        seen.add(base.casefold())
        names[i] = base + suffix
    return names


def read_image(path: str, timeout: float = TIMEOUT) -> np.ndarray:
    """Read a picture as ``cv2.imread`` and ``mmcv.imread`` do.

    It is turned as its EXIF data say; grey pictures get three equal channels,
    16 bits become 8, an alpha channel is dropped. Of an animation or several
    pages it is the first.

    Args:
        path (str): The file or its URL.
        timeout (float): Seconds that a URL may take. Defaults to ``TIMEOUT``.

    Returns:
        np.ndarray: BGR, uint8 of shape ``(H, W, 3)``.

    Raises:
        OSError: If there is no such file, or it takes too long.
        ValueError: If OpenCV cannot decode it.
    """
    # Not imread, which on Windows opens no path with other than ASCII letters.
    data = (
        np.frombuffer(_download(path, timeout), np.uint8)
        if is_url(path) else np.fromfile(path, np.uint8))
    image: Optional[np.ndarray] = None
    if data.size:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError('OpenCV cannot decode it; is the picture complete?')
    return image


def _download(url: str, timeout: float) -> bytes:
    deadline, data = time.monotonic() + timeout, bytearray()
    with urlopen(url, timeout=timeout) as response:
        while True:
            some = response.read1(1 << 20)
            if not some:
                break
            data += some
            if time.monotonic() > deadline:
                raise OSError(f'it takes more than {timeout:g} seconds; raise '
                              '--timeout if the server is slow')
        if getattr(response, 'length', None):  # what is left of it
            raise OSError(f'the server sent only {len(data)} bytes of it')
    return bytes(data)


def further_frames(path: str) -> int:
    """Count what :func:`read_image` leaves out of a picture.

    Args:
        path (str): The file.

    Returns:
        int: The frames of an animation, or pages, after the first, as far as
        OpenCV knows them.
    """
    if is_url(path) or path.lower().endswith(('.bmp', '.jpeg', '.jpg')):
        return 0
    return max(0, cv2.imcount(path) - 1)


class Video:
    """The frames of a video, camera or stream, in order.

    OpenCV turns them as the file's metadata say.

    Args:
        source (Source): A video or webcam.
        timeout (float): Seconds that a stream may take to open, and each of
            its frames. Defaults to ``TIMEOUT``.

    Attributes:
        fps (float): Frames per second, as the file says. Cameras and browsers
            write wrong ones; the times of the frames are right.
        frames (int, optional): How many there are, as the file says; ``None``
            if it does not.

    Raises:
        ValueError: If it cannot be opened or its path is not UTF-8.
    """

    def __init__(self, source: Source, timeout: float = TIMEOUT):
        self._source, self._timeout = source, timeout
        self.live = source.kind == 'webcam'
        source.path.encode()  # OpenCV would crash at other than UTF-8
        if is_url(source.path):
            limit = round(1000 * timeout)
            self._capture = cv2.VideoCapture(source.path, cv2.CAP_FFMPEG, [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit
            ])
            remedy = (f'cannot open this stream within {timeout:g} seconds; '
                      'is the address right, and the server up? --timeout '
                      'waits longer')
        elif self.live:
            self._capture = cv2.VideoCapture(
                int(source.path) if source.path.isdecimal() else source.path)
            remedy = ('cannot open this camera; is it connected, and used by '
                      'no other program?')
        else:
            # FFmpeg takes what stands before a colon for a protocol.
            self._capture = cv2.VideoCapture(osp.abspath(source.path))
            remedy = 'OpenCV cannot open it as a video; is the file complete?'
        if not self._capture.isOpened():
            raise ValueError(remedy)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and fps > 0 else DEFAULT_FPS
        frames = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(frames) if not self.live and frames > 0 else None

    def __iter__(self) -> Iterator[Tuple[float, np.ndarray]]:
        """Read the frames.

        Yields:
            tuple[float, np.ndarray]: Its time in seconds after the first, by
            the file's time stamps, always rising; and the frame in BGR, uint8
            of shape ``(H, W, 3)``.

        Raises:
            ValueError: If there is none, the file ends more than a second
                before the time it tells, or a stream stalls.
        """
        index, seconds, first = 0, 0., 0.
        while True:
            start = time.monotonic()
            success, frame = self._capture.read()
            if not success:
                break
            stamp = (
                time.monotonic() if self.live else
                self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if not index:
                first = stamp
            # Some containers and readers have no time stamps.
            elif math.isfinite(stamp) and stamp - first > seconds:
                seconds = stamp - first
            else:
                seconds += 1 / self.fps
            yield seconds, frame
            index += 1
        if is_url(self._source.path) and (time.monotonic() - start
                                          > 0.9 * self._timeout):
            raise ValueError(
                f'the stream stalled: no frame for {self._timeout:g} seconds '
                f'after {index} frames; --timeout waits longer')
        # A rough test: some containers hold an estimate only. Where the rate
        # is wrong, their number of frames is the duration times that rate.
        told = self.frames or 0
        if not index or min(told - index,
                            told - seconds * self.fps) > self.fps:
            raise ValueError(f'only {index} of {self.frames or "its"} frames '
                             'could be read; is the video complete?')

    def close(self) -> None:
        """Close the file or camera."""
        self._capture.release()


def read_frames(
    sources: Sequence[Source],
    picture_fps: float = DEFAULT_FPS,
    timeout: float = TIMEOUT,
    skipped: Container[str] = ()
) -> Generator[Union[Frame, Failure], None, None]:
    """Read sources, one after the other.

    Args:
        sources (Sequence[Source]): The sources.
        picture_fps (float): Pictures of a folder per second. Defaults to 30.
        timeout (float): See :class:`Video`. Defaults to ``TIMEOUT``.
        skipped (Container[str]): Names of videos of which no more is to be
            read; it may change. Defaults to none.

    Yields:
        Frame | Failure: Each frame; and what ends a source too early, after
        its frames.
    """
    index = count()
    # The pictures of each folder, as frames of a video.
    numbers: DefaultDict[str, Iterator[int]] = defaultdict(count)
    for source in sources:
        try:
            if source.kind != 'image':
                with closing(Video(source, timeout)) as video:
                    for frame_id, (seconds, image) in enumerate(video):
                        if source.name in skipped:
                            break
                        yield Frame(source, frame_id, seconds, video.fps,
                                    next(index), image)
                continue
            number = next(index)
            seconds = next(numbers[osp.dirname(source.path)]) / picture_fps
            image = (
                read_image(source.path, timeout)
                if source.image is None else source.image)
            yield Frame(source, None, seconds, picture_fps, number, image)
        except ERRORS as error:
            yield Failure(source, error)


def count_images(sources: Sequence[Source]) -> Optional[int]:
    """Count pictures and frames.

    Args:
        sources (Sequence[Source]): The sources.

    Returns:
        int, optional: How many there are, without those in videos that cannot
        be opened; ``None`` if a camera, stream or video does not tell.
    """
    total = 0
    for source in sources:
        if source.kind == 'image':
            total += 1
            continue
        if not _is_file(source.kind, source.path):
            return None
        with suppress(ValueError), closing(Video(source)) as video:
            if video.frames is None:
                return None
            total += video.frames
    return total
