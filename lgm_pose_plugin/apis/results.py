"""Result files, which are replaced whole or left as they were.

Everything is written to a file beside the final one, which it then replaces.
Needs NumPy and OpenCV alone.
"""
import csv
import json
import os
import os.path as osp
import sys
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import (Any, Dict, Iterator, List, NamedTuple, Optional, Sequence,
                    TextIO, Tuple, Union)

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import replacing, write_json
from .coco_files import PERSON, ImageIds
from .sources import Source, is_url

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


class People(NamedTuple):
    """The M people of an image.

    Attributes:
        boxes (np.ndarray): Boxes, (left, top, right, bottom) in pixels, of
            shape ``(M, 4)``.
        box_scores (np.ndarray): Their scores, of shape ``(M, )``.
        keypoints (np.ndarray): Key points (x, y) in pixels, of shape
            ``(M, K, 2)``.
        scores (np.ndarray): Their scores, of shape ``(M, K)``.
        track_ids (np.ndarray, optional): Track ids of shape ``(M, )``, -1
            for none.
    """
    boxes: np.ndarray
    box_scores: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    track_ids: Optional[np.ndarray] = None

    def instances(self) -> List[Dict[str, Any]]:
        """Make what MMPose's inferencers write of an image.

        Returns:
            list[dict]: ``keypoints``, ``keypoint_scores``, ``bbox`` (a list
            of one box) and ``bbox_score``, as MMPose's ``split_instances``;
            with tracks ``track_id``, too.
        """
        results = [
            dict(
                keypoints=keypoints.tolist(),
                keypoint_scores=scores.tolist(),
                bbox=[box.tolist()],
                bbox_score=float(box_score))
            for box, box_score, keypoints, scores in zip(*self[:4])
        ]
        if self.track_ids is not None:
            for result, number in zip(results, self.track_ids.tolist()):
                result['track_id'] = number
        return results


class Frame(NamedTuple):
    """A picture, or a frame of a video, that is done.

    Attributes:
        source (Source): What it is or is of.
        number (int, optional): The number of the frame in the video, from 0;
            ``None`` for a picture.
        seconds (float): Its time, from 0.
        size (tuple[int, int]): Width and height in pixels.
        people (People): Who is in it.
    """
    source: Source
    number: Optional[int]
    seconds: float
    size: _Size
    people: People


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


def picture_name(name: str) -> str:
    """Name of the picture drawn from one, .jpg if OpenCV cannot write it.

    Args:
        name (str): The name of the picture.

    Returns:
        str: The name to write.
    """
    # Written as others, the suffix would tell a wrong format.
    if osp.splitext(name)[1] and cv2.haveImageWriter(name):
        return name
    return osp.splitext(name)[0] + '.jpg'


class CsvWriter:
    """A table of people, one row a person and frame.

    It gets its name when it is closed.

    Args:
        path (str): The file.
        names (Sequence[str]): Names of the key points.
    """

    def __init__(self, path: str, names: Sequence[str]):
        self._path = path
        with ExitStack() as stack:
            file = stack.enter_context(
                open(
                    stack.enter_context(replacing(path)),
                    'w',
                    encoding='utf-8',
                    newline=''))
            self._rows = csv.writer(file)
            self._rows.writerow([
                'source', 'frame', 'seconds', 'track_id', 'left', 'top',
                'right', 'bottom', 'box_score',
                *(f'{name}_{what}' for name in names
                  for what in ('x', 'y', 'score'))
            ])
            self._context = stack.pop_all()

    def __call__(self, frame: Frame) -> None:
        """Write the people of a frame.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
        """
        people = frame.people
        ids = people.track_ids
        try:
            self._rows.writerows([
                frame.source.title, frame.number, f'{frame.seconds:.6f}',
                None if ids is None else ids[i],
                *people.boxes[i].astype(float).round(2).tolist(),
                round(float(people.box_scores[i]),
                      5), *np.column_stack([points, people.scores[i]]).astype(
                          float).round(5).ravel().tolist()
            ] for i, points in enumerate(people.keypoints))
        except (OSError, ValueError) as error:  # the latter once it is closed
            self._context.__exit__(*sys.exc_info())  # no table with gaps
            raise OSError(f'{self._path} could not be written whole; is the '
                          f'disk full? ({error})') from error

    def __enter__(self) -> 'CsvWriter':
        return self

    def __exit__(self, *error: Any) -> None:
        # Of what fails elsewhere, the rows so far are kept.
        self._context.close()


class OpenPoseWriter:
    """A file of key points for each frame, as OpenPose's ``--write_json``.

    ``pose_keypoints_2d`` has the network's key points in their order.

    Args:
        folder (str): The folder of the files, ``NAME_keypoints.json`` for a
            picture and ``NAME_000000000000_keypoints.json`` for a frame.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, frame: Frame) -> None:
        """Write the people of a frame."""
        people = frame.people
        ids = people.track_ids
        others = ('face', 'hand_left', 'hand_right')
        number = '' if frame.number is None else f'_{frame.number:012}'
        stem = osp.splitext(frame.source.name)[0]
        write_json(
            osp.join(self.folder, f'{stem}{number}_keypoints.json'),
            dict(
                version=1.3,
                people=[
                    dict(
                        person_id=[-1 if ids is None else int(ids[i])],
                        pose_keypoints_2d=np.column_stack(
                            [points, people.scores[i]]).ravel().tolist(),
                        **{f'{part}_keypoints_2d': []
                           for part in others})
                    for i, points in enumerate(people.keypoints)
                ]))


class CocoAnnotations:
    """Annotations of pictures in COCO's format, to correct and train on.

    Args:
        ids (ImageIds): Ids of the pictures.
        folder (str): The folder that file names are relative to.
        names (Sequence[str]): Names of the key points.
        skeleton (Sequence[Sequence[int]]): Pairs of indices of key points.
        score_thr (float): Key points with at most this score are not
            labelled; people without any other are left out.

    Attributes:
        data (dict): What the file holds: ``images``, ``annotations`` and
            ``categories``.
    """

    def __init__(self, ids: ImageIds, folder: str, names: Sequence[str],
                 skeleton: Sequence[Sequence[int]], score_thr: float):
        self._ids, self._folder, self._score_thr = ids, folder, score_thr
        self.data: Dict[str, List[Dict[str, Any]]] = dict(
            images=[],
            annotations=[],
            categories=[
                dict(
                    id=PERSON,
                    name='person',
                    supercategory='person',
                    keypoints=list(names),
                    skeleton=[[a + 1, b + 1] for a, b in skeleton])
            ])

    def __call__(self, frame: Frame) -> None:
        """Add a picture and its people; frames of videos are left out."""
        if frame.number is not None:
            return
        name, people = frame.source.title, frame.people
        image_id = self._ids.find(frame.source.path)
        if not is_url(name):
            name = osp.relpath(name, self._folder).replace(os.sep, '/')
        (width, height), annotations = frame.size, self.data['annotations']
        self.data['images'].append(
            dict(id=image_id, file_name=name, width=width, height=height))
        for box, points, scores in zip(people.boxes, people.keypoints,
                                       people.scores):
            seen = scores > self._score_thr
            left, top, right, bottom = box.clip(
                0, [width, height, width, height
                    ]).astype(float).round(2).tolist()
            if not seen.any() or right <= left or bottom <= top:
                continue
            flags = np.where(seen, 2, 0)  # labelled and visible, or neither
            points = np.where(seen[:, None], points, 0).astype(float).round(2)
            area = (right - left) * (bottom - top)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=PERSON,
                    bbox=[left, top, right - left, bottom - top],
                    area=area,
                    iscrowd=0,
                    num_keypoints=int(seen.sum()),
                    keypoints=np.column_stack([points,
                                               flags]).ravel().tolist()))


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
