"""Result files, which are replaced whole or left as they were.

Everything is written to a file beside the final one, which it then replaces.
Needs NumPy and OpenCV alone.
"""
import json
import os.path as osp
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Optional, Sequence, TextIO

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import replacing

# Written by the FFmpeg in OpenCV's wheels; other videos become .mp4.
VIDEO_CODECS = dict.fromkeys(('.m4v', '.mkv', '.mov', '.mp4'), 'mp4v')
VIDEO_CODECS['.avi'] = 'MJPG'


def write_image(path: str, image: np.ndarray) -> None:
    """Write a picture and the folders it lies in.

    Args:
        path (str): The file, whose suffix tells the format.
        image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.

    Raises:
        OSError: If OpenCV cannot encode it or the file not be written.
    """
    success, data = cv2.imencode(osp.splitext(path)[1], image)
    if not success:
        raise OSError(f'OpenCV cannot encode {path}')
    with replacing(path) as temporary:
        # Not tofile, which says nothing if the disk is full at the end.
        Path(temporary).write_bytes(data.tobytes())


def video_name(name: str) -> str:
    """Name of the video drawn from one, .mp4 if the suffix cannot be kept.

    Args:
        name (str): The name of the video.

    Returns:
        str: The name to write.
    """
    stem, suffix = osp.splitext(name)
    return name if suffix.lower() in VIDEO_CODECS else f'{stem}.mp4'


class JsonListWriter:
    """A JSON file of a list that gets its name when it is closed.

    What ``write_json`` makes of the list, without holding it in memory.

    Args:
        path (str): The file.
    """

    def __init__(self, path: str):
        self.path = path
        self._context = ExitStack()
        self._file: Optional[TextIO] = None

    def write(self, item: Any) -> None:
        """Append an item.

        Args:
            item (Any): Of JSON's types.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
        """
        opening = ',' if self._file else '['
        if self._file is None:
            temporary = self._context.enter_context(replacing(self.path))
            self._file = self._context.enter_context(
                open(temporary, 'w', encoding='utf-8'))
        # JSON has no line breaks but those of its layout.
        text = json.dumps(item, indent='  ').replace('\n', '\n  ')
        try:
            self._file.write(f'{opening}\n  {text}')
        except OSError:  # no list that lacks a piece
            self._file = None
            self._context.__exit__(*sys.exc_info())
            raise

    def close(self) -> None:
        """Finish the file; without items there is none."""
        with self._context:
            if self._file is not None:
                self._file.write('\n]')
                self._file = None


class VideoWriter:
    """A video that gets its name when it is closed.

    Args:
        path (str): The file, with a suffix in ``VIDEO_CODECS``.
        fps (float): Frames per second.
    """

    def __init__(self, path: str, fps: float):
        self.path = path
        self.fps = fps
        self._context = ExitStack()
        self._frames = 0
        self._writer: Optional[cv2.VideoWriter] = None
        self._size: Sequence[int] = ()

    def write(self, frame: np.ndarray) -> None:
        """Append a frame.

        Args:
            frame (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``, all of one
                size.

        Raises:
            OSError: If OpenCV cannot write the file.
            ValueError: If the size is another one, or the path not UTF-8.
        """
        size = frame.shape[1::-1]
        if self._writer is None:
            self.path.encode()  # OpenCV would crash at other than UTF-8
            codec = VIDEO_CODECS[osp.splitext(self.path)[1].lower()]
            with ExitStack() as stack:
                self._temporary = stack.enter_context(replacing(self.path))
                writer = cv2.VideoWriter(self._temporary,
                                         cv2.VideoWriter.fourcc(*codec),
                                         self.fps, size)
                if not writer.isOpened():
                    raise OSError(f'OpenCV cannot write {self.path} with the '
                                  f'codec {codec}')
                self._context = stack.pop_all()
            self._writer, self._size = writer, size
        # OpenCV would leave it out without a word.
        if size != self._size:
            raise ValueError(f'a frame of {size[0]}x{size[1]} follows frames '
                             'of {}x{}'.format(*self._size))
        self._writer.write(frame)
        self._frames += 1

    def close(self) -> None:
        """Finish the file; without frames there is none.

        Raises:
            OSError: If OpenCV could not write it whole, of which it only
                logs a warning. The file of before stays.
        """
        with self._context:
            if self._writer is None:
                return
            self._writer.release()
            self._writer = None
            # Headers may count frames that are missing.
            video = cv2.VideoCapture(self._temporary)
            video.set(cv2.CAP_PROP_POS_FRAMES, self._frames - 1)
            whole = video.grab()
            video.release()
            if not whole:
                raise OSError(f'{self.path} could not be written whole; is '
                              'the disk full?')
