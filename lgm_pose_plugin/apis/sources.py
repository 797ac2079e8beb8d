"""Pictures, videos and cameras to run a network on.

Needs NumPy and OpenCV alone.
"""
import glob
import math
import os
import os.path as osp
import re
import time
from contextlib import closing, suppress
from itertools import count
from typing import (Dict, Iterator, List, NamedTuple, Optional, Sequence, Set,
                    Tuple)

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import IMAGE_SUFFIXES

VIDEO_SUFFIXES = ('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg',
                  '.mpg', '.webm', '.wmv')
DEFAULT_FPS = 30.  # where a camera or a file tells no rate


class Source(NamedTuple):
    """A picture, a video or a camera.

    Attributes:
        kind (str): ``'image'``, ``'video'`` or ``'webcam'``.
        path (str): Path of the file, or the camera's number.
        name (str): Relative path that no other source has, not even with
            another suffix; for names of results.
    """
    kind: str
    path: str
    name: str


def find_sources(specs: Sequence[str]) -> Tuple[List[Source], List[str]]:
    """List what is meant by files, folders, patterns and cameras.

    Args:
        specs (Sequence[str]): Paths of pictures and videos, folders (their
            pictures and videos, not those of folders inside), patterns as
            ``'*/*.jpg'`` (``**`` for any folders), ``'webcam:0'`` or ``'0'``.

    Returns:
        tuple[list[Source], list[str]]: The sources, each once, in the given
        order, those of a folder or pattern by name; and a line for each
        argument that is none of these.
    """
    found: Dict[str, Tuple[str, str]] = {}
    problems = []
    for spec in specs:
        camera = re.fullmatch(r'(?:webcam:)?(\d+)', spec)
        paths = [spec]
        if camera and not osp.exists(spec):
            number = str(int(camera.group(1)))
            found[f'webcam:{number}'] = ('webcam', number)
            continue
        if osp.isdir(spec):
            paths = [
                osp.join(spec, name) for name in sorted(os.listdir(spec))
                if _kind(name)
            ]
        elif not osp.exists(spec) and glob.has_magic(spec):
            paths = sorted(glob.glob(spec, recursive=True))
        paths = [path for path in paths if not osp.isdir(path)]
        if not paths:
            problems.append(f'{spec}: no pictures or videos there')
        for path in paths:
            if not osp.exists(path):
                problems.append(f'{path}: no such file or folder')
            elif not _kind(path):
                problems.append(
                    f'{path}: neither picture nor video by its name, which '
                    f'ends in none of {", ".join(IMAGE_SUFFIXES)}; '
                    f'{", ".join(VIDEO_SUFFIXES)}')
            else:
                found.setdefault(osp.realpath(path), (_kind(path), path))
    names = _distinct_names(list(found.values()))
    return [
        Source(kind, path, name)
        for (kind, path), name in zip(found.values(), names)
    ], problems


def _kind(path: str) -> str:
    suffix = osp.splitext(path)[1].lower()
    return ('image' if suffix in IMAGE_SUFFIXES else
            'video' if suffix in VIDEO_SUFFIXES else '')


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


def _distinct_names(sources: List[Tuple[str, str]]) -> List[str]:
    """Base names, or paths below the common folder where those clash."""

    def stems(names: List[str]) -> List[str]:
        return [osp.splitext(name)[0].casefold() for name in names]

    names = [
        f'webcam_{path}.mp4' if kind == 'webcam' else osp.basename(path)
        for kind, path in sources
    ]
    if len(set(stems(names))) < len(names):
        files = [path for kind, path in sources if kind != 'webcam']
        # Files on different drives have no common folder, but numbers below.
        with suppress(ValueError):
            folder = common_folder(files)
            names = [
                name if kind == 'webcam' else osp.relpath(path, folder)
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


def read_image(path: str) -> np.ndarray:
    """Read a picture as ``cv2.imread`` and ``mmcv.imread`` do.

    It is turned as its EXIF data say; grey pictures get three equal channels,
    16 bits become 8, an alpha channel is dropped.

    Args:
        path (str): The file.

    Returns:
        np.ndarray: BGR, uint8 of shape ``(H, W, 3)``.

    Raises:
        OSError: If there is no such file.
        ValueError: If OpenCV cannot decode it.
    """
    # Not imread, which on Windows opens no path with other than ASCII letters.
    data = np.fromfile(path, np.uint8)
    image: Optional[np.ndarray] = None
    if data.size:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError('OpenCV cannot decode it; is the picture complete?')
    return image


class Video:
    """The frames of a video or camera, in order.

    OpenCV turns them as the file's metadata say.

    Args:
        source (Source): A video or webcam.

    Attributes:
        fps (float): Frames per second.
        frames (int, optional): How many there are, as the file says; ``None``
            if it does not.

    Raises:
        ValueError: If it cannot be opened or its path is not UTF-8.
    """

    def __init__(self, source: Source):
        self.live = source.kind == 'webcam'
        source.path.encode()  # OpenCV would crash at other than UTF-8
        self._capture = cv2.VideoCapture(
            int(source.path) if self.live else source.path)
        if not self._capture.isOpened():
            raise ValueError(
                'cannot open this camera; is it connected, and used by no '
                'other program?' if self.live else
                'OpenCV cannot open it as a video; is the file complete?')
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and fps > 0 else DEFAULT_FPS
        frames = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(frames) if not self.live and frames > 0 else None

    def __iter__(self) -> Iterator[Tuple[float, np.ndarray]]:
        """Read the frames.

        Yields:
            tuple[float, np.ndarray]: Its time in seconds and the frame in
            BGR, uint8 of shape ``(H, W, 3)``.

        Raises:
            ValueError: If there is none, or the file ends more than a second
                before the time it tells.
        """
        index, start = 0, time.monotonic()
        while True:
            success, frame = self._capture.read()
            if not success:
                break
            yield (time.monotonic() - start if self.live else index / self.fps,
                   frame)
            index += 1
        # A rough test: some containers hold an estimate only.
        if not index or (self.frames or 0) - index > self.fps:
            raise ValueError(f'only {index} of {self.frames or "its"} frames '
                             'could be read; is the video complete?')

    def close(self) -> None:
        """Close the file or camera."""
        self._capture.release()


def count_images(sources: Sequence[Source]) -> Optional[int]:
    """Count pictures and frames.

    Args:
        sources (Sequence[Source]): The sources.

    Returns:
        int, optional: How many there are, without those in videos that cannot
        be opened; ``None`` if a camera or video does not tell.
    """
    total = 0
    for source in sources:
        if source.kind == 'webcam':
            return None
        if source.kind == 'image':
            total += 1
            continue
        with suppress(ValueError), closing(Video(source)) as video:
            if video.frames is None:
                return None
            total += video.frames
    return total
