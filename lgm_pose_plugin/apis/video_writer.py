"""Drawn videos, which are replaced whole or left as they were.

Needs NumPy and OpenCV alone. With PyAV, browsers play the videos.
"""
import os.path as osp
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from typing import Any, Iterator, Optional, Tuple, Union

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import replacing

# Containers that are written, and what the FFmpeg in OpenCV's wheels writes
# into them; other videos become .mp4.
VIDEO_CODECS = dict.fromkeys(('.m4v', '.mkv', '.mov', '.mp4'), 'mp4v')
VIDEO_CODECS['.avi'] = 'MJPG'
# What PyAV writes into all but .avi, by FFmpeg's names: the first that there
# is, with options for a fast one. Browsers play them.
ENCODERS = {
    'libx264': dict(preset='veryfast'),
    'libopenh264': {},
    'libvpx-vp9': dict(deadline='realtime', cpu_used='8', crf='32', b='0')
}
FORMATS = {'.mkv': 'matroska', '.mov': 'mov'}  # FFmpeg's names; else mp4
CLOCK = 90000  # time stamps of videos, per second

_Size = Tuple[int, int]  # width and height


def video_name(name: str) -> str:
    """Name of the video drawn from one, .mp4 if the suffix cannot be kept.

    Args:
        name (str): The name of the video.

    Returns:
        str: The name to write.
    """
    stem, suffix = osp.splitext(name)
    return name if suffix.lower() in VIDEO_CODECS else f'{stem}.mp4'


def find_encoder() -> Optional[str]:
    """Find what writes videos that browsers play.

    Returns:
        str, optional: FFmpeg's name of the encoder; ``None`` without PyAV,
        or if its FFmpeg has none.
    """
    try:
        from av.codec import Codec
    except ImportError:
        return None
    for name in ENCODERS:
        # An UnknownCodecError.
        with suppress(ValueError):
            Codec(name, 'w')
            return name
    return None


class _AvEncoder:
    """Writes frames at their times by PyAV."""

    def __init__(self, path: str, encoder: str, fps: float, size: _Size):
        import av
        self._av = av
        suffix = osp.splitext(path)[1].lower()
        # At the end the index goes to the front, for players on the web.
        self._container = av.open(
            path,
            'w',
            format=FORMATS.get(suffix, 'mp4'),
            container_options=dict(movflags='faststart'))
        self._stream: Any = self._container.add_stream(
            encoder,
            # A hint; cameras and browsers write wrong ones, as 1,000.
            rate=Fraction(fps if fps <= 240 else 30).limit_denominator(1001),
            options=ENCODERS[encoder])
        # Colours at half the resolution need even sizes.
        self._size = [side - side % 2 for side in size]
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = 'yuv420p'
        self._stream.codec_context.time_base = Fraction(1, CLOCK)

    def write(self, frame: np.ndarray, seconds: float) -> None:
        width, height = self._size
        picture = self._av.VideoFrame.from_ndarray(
            np.ascontiguousarray(frame[:height, :width]), format='bgr24')
        picture.pts = round(seconds * CLOCK)
        picture.time_base = Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _OpenCvEncoder:
    """Writes frames by OpenCV, which knows a constant rate only.

    Frames are repeated and left out so that they keep their times.
    """

    def __init__(self, path: str, codec: str, fps: float, size: _Size):
        self._path, self._frames = path, 0
        # The time base of MPEG-4 has 16 bits.
        self.fps = round(fps, 2) if fps < 655 else float(round(fps))
        self._last: Optional[np.ndarray] = None
        self._writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*codec),
                                       self.fps, size)
        if not self._writer.isOpened():
            raise OSError(f'OpenCV has no codec {codec}')

    def write(self, frame: np.ndarray, seconds: float) -> None:
        index = round(seconds * self.fps)
        for _ in range(self._frames, index):
            self._append(frame if self._last is None else self._last)
        if self._frames == index:
            self._append(frame)
        self._last = frame

    def _append(self, frame: np.ndarray) -> None:
        self._writer.write(frame)
        self._frames += 1

    def close(self) -> None:
        self._writer.release()
        # OpenCV only logs a warning of a full disk, and headers may count
        # frames that are missing.
        video = cv2.VideoCapture(self._path)
        video.set(cv2.CAP_PROP_POS_FRAMES, self._frames - 1)
        whole = video.grab()
        video.release()
        if not whole:
            raise OSError('the last frame is missing')


class VideoWriter:
    """A video that gets its name when it is closed.

    H.264 or VP9 by PyAV, with the time of each frame; else MPEG-4 by OpenCV,
    which no browser plays, at a constant rate; Motion JPEG in .avi.

    Args:
        path (str): The file, with a suffix in ``VIDEO_CODECS``.
        fps (float): Frames per second.
    """

    def __init__(self, path: str, fps: float):
        self.path = path
        self.fps = fps
        self._context = ExitStack()
        self._encoder: Union[_AvEncoder, _OpenCvEncoder, None] = None
        self._size: _Size = (0, 0)

    def write(self, frame: np.ndarray, seconds: float) -> None:
        """Append a frame.

        Args:
            frame (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``, all of one
                size.
            seconds (float): When it is shown, later than the one before; the
                first at 0.

        Raises:
            OSError: If the file cannot be written.
            ValueError: If the size is another one, or the path not UTF-8.
        """
        height, width = frame.shape[:2]
        if self._encoder is None:
            self.path.encode()  # OpenCV would crash at other than UTF-8
            suffix = osp.splitext(self.path)[1].lower()
            encoder = None if suffix == '.avi' else find_encoder()
            with ExitStack() as stack:
                path = stack.enter_context(replacing(self.path))
                with self._explained():
                    self._encoder = (
                        _AvEncoder(path, encoder, self.fps,
                                   (width, height)) if encoder else
                        _OpenCvEncoder(path, VIDEO_CODECS[suffix], self.fps,
                                       (width, height)))
                self._context = stack.pop_all()
            self._size = width, height
        # Encoders would leave it out without a word.
        if (width, height) != self._size:
            raise ValueError(f'a frame of {width}x{height} follows frames '
                             'of {}x{}'.format(*self._size))
        with self._explained():
            self._encoder.write(frame, seconds)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell which file could not be written."""
        try:
            yield
        # FFmpeg's errors have nothing but this in common.
        except Exception as error:
            raise OSError(f'{self.path} could not be written whole; is the '
                          f'disk full? ({error})') from error

    def close(self) -> None:
        """Finish the file; without frames there is none.

        Raises:
            OSError: If it could not be written whole. The file of before
                stays.
        """
        with self._context, self._explained():
            if self._encoder is not None:
                encoder, self._encoder = self._encoder, None
                encoder.close()
