"""Result files that are whole or not there.

Everything is written to a file beside the final one, which it then replaces.
Needs NumPy and OpenCV alone.
"""
import json
import os
import os.path as osp
from contextlib import contextmanager
from typing import Any, Iterator, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

# Written by the FFmpeg in OpenCV's wheels; other videos become .mp4.
VIDEO_CODECS = {
    '.avi': 'MJPG',
    '.m4v': 'mp4v',
    '.mkv': 'mp4v',
    '.mov': 'mp4v',
    '.mp4': 'mp4v'
}


def check_out_file(path: str) -> None:
    """Check that a file can be written, before the work is done.

    Args:
        path (str): Its path.

    Raises:
        FileNotFoundError: If its folder does not exist.
        ValueError: If it is a folder or cannot be written.
    """
    folder = osp.dirname(path) or os.curdir
    if not osp.isdir(folder):
        raise FileNotFoundError(
            f'there is no folder {folder}; make it or choose another place')
    if osp.isdir(path) or not os.access(folder, os.W_OK):
        raise ValueError(f'cannot write {path}; choose another place')


def check_inputs_kept(outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Check that nothing is written over what is read.

    Args:
        outputs (Sequence[str]): Files to write.
        inputs (Sequence[str]): Files that are read.

    Raises:
        ValueError: If a file is both.
    """
    read = {osp.realpath(path) for path in inputs}
    for path in outputs:
        if osp.realpath(path) in read:
            raise ValueError(f'{path} is read and would be replaced by a '
                             'result; choose another place for results')


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Write a file beside its place, move it there at the end.

    Args:
        path (str): The file. Its folder is made if there is none.

    Yields:
        str: The path to write to, of the same suffix. On an error it is
        removed and ``path`` stays as it was.
    """
    temporary = _temporary(path)
    os.makedirs(osp.dirname(path) or os.curdir, exist_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if osp.exists(temporary):
            os.remove(temporary)


def _temporary(path: str) -> str:
    """Beside ``path`` and with its suffix, by which OpenCV goes."""
    folder, name = osp.split(path)
    return osp.join(folder, f'.partial-{os.getpid()}-{name}')


def write_json(path: str,
               data: Any,
               indent: Union[int, str, None] = None) -> None:
    """Write a JSON file and the folders it lies in.

    Args:
        path (str): The file.
        data (Any): Of JSON's types.
        indent (int | str, optional): As in ``json.dump``.
    """
    with replacing(path) as temporary:
        with open(temporary, 'w', encoding='utf-8') as file:
            json.dump(data, file, indent=indent)


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
        data.tofile(temporary)


def video_name(name: str) -> str:
    """Name of the video drawn from one, .mp4 if the suffix cannot be kept.

    Args:
        name (str): The name of the video.

    Returns:
        str: The name to write.
    """
    stem, suffix = osp.splitext(name)
    return name if suffix.lower() in VIDEO_CODECS else f'{stem}.mp4'


class VideoWriter:
    """A video that gets its name when it is closed.

    Args:
        path (str): The file, with a suffix in ``VIDEO_CODECS``.
        fps (float): Frames per second.
    """

    def __init__(self, path: str, fps: float):
        self.path = path
        self.fps = fps
        self._writer: Optional[cv2.VideoWriter] = None
        self._size: Tuple[int, int] = (0, 0)

    def write(self, frame: np.ndarray) -> None:
        """Append a frame.

        Args:
            frame (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``, all of one
                size.

        Raises:
            OSError: If OpenCV cannot write the file.
            ValueError: If the size is another one.
        """
        size = frame.shape[1::-1]
        if self._writer is None:
            os.makedirs(osp.dirname(self.path) or os.curdir, exist_ok=True)
            codec = VIDEO_CODECS[osp.splitext(self.path)[1].lower()]
            writer = cv2.VideoWriter(
                _temporary(self.path), cv2.VideoWriter_fourcc(*codec),
                self.fps, size)
            if not writer.isOpened():
                raise OSError(f'OpenCV cannot write {self.path} with the '
                              f'codec {codec}')
            self._writer, self._size = writer, size
        # OpenCV would leave it out without a word.
        if size != self._size:
            raise ValueError(f'a frame of {size[0]}x{size[1]} follows frames '
                             'of {}x{}'.format(*self._size))
        self._writer.write(frame)

    def close(self) -> None:
        """Finish the file; without frames there is none."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            os.replace(_temporary(self.path), self.path)
