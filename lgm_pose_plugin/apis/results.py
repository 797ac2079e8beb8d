"""Result files, which are replaced whole or left as they were.

Everything is written to a file beside the final one, which it then replaces.
Needs NumPy and OpenCV alone.
"""
import csv
import json
import os
import os.path as osp
import sys
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import replacing, write_json
from lgm_pose_plugin.visualization.skeletons import Drawer
from .coco_files import PERSON, ImageIds, keypoint_results
from .sources import Frame, Source, is_url

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


@dataclass(eq=False)
class PoseResult(Frame):
    """The M people of a picture, or of a frame of a video.

    Attributes:
        bboxes (np.ndarray): Boxes, (left, top, right, bottom) in pixels, of
            shape ``(M, 4)``.
        bbox_scores (np.ndarray): Their scores, of shape ``(M, )``.
        keypoints (np.ndarray): Key points (x, y) in pixels, of shape
            ``(M, K, 2)``.
        keypoint_scores (np.ndarray): Their scores, of shape ``(M, K)``.
        skeleton (list): Pairs of indices of key points, the lines of
            :meth:`draw`.
        track_ids (np.ndarray, optional): Track ids of shape ``(M, )``, -1
            for none.
    """
    bboxes: np.ndarray
    bbox_scores: np.ndarray
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    skeleton: Sequence[Sequence[int]] = ()
    track_ids: Optional[np.ndarray] = None

    def draw(self,
             kpt_thr: float = 0.3,
             draw_bbox: bool = False) -> np.ndarray:
        """Draw the people.

        Args:
            kpt_thr (float): Key points with at most this score are left out.
                Defaults to 0.3, as in MMPose's inferencers.
            draw_bbox (bool): Whether to draw the boxes, too. Defaults to
                ``False``.

        Returns:
            np.ndarray: The drawn image, BGR, uint8 of shape ``(H, W, 3)``;
            ``image`` stays as it is.

        Raises:
            ImportError: If supervision is not installed.
        """
        return Drawer(self.skeleton, kpt_thr,
                      draw_bbox).draw(self.image, self.bboxes, self.keypoints,
                                      self.keypoint_scores, self.track_ids)

    def instances(self) -> List[Dict[str, Any]]:
        """Make what MMPose's inferencers give and write of an image.

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
            for box, box_score, keypoints, scores in zip(
                self.bboxes, self.bbox_scores, self.keypoints,
                self.keypoint_scores)
        ]
        if self.track_ids is not None:
            for result, number in zip(results, self.track_ids.tolist()):
                result['track_id'] = number
        return results


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


class _TextFile:
    """A text file that is written as a run goes.

    It gets its name when it is closed, unless something could not be written.
    """

    def __init__(self, path: str):
        self._path, self._whole = path, True
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(path))
            # The csv module ends lines by itself.
            self._file = stack.enter_context(
                open(temporary, 'w', encoding='utf-8', newline=''))
            self._context = stack.pop_all()

    def write(self, text: str) -> None:
        """Append; of a file that cannot be written nothing stays."""
        try:
            self._file.write(text)
        except (OSError, ValueError) as error:  # the latter once it is closed
            self._whole = False
            with suppress(OSError):
                self._context.__exit__(*sys.exc_info())
            raise self._explain(error) from error

    def close(self) -> None:
        try:
            self._context.close()
        except OSError as error:
            raise self._explain(error) from error

    @property
    def whole(self) -> bool:
        """bool: Whether all could be written so far."""
        return self._whole

    def _explain(self, error: Exception) -> OSError:
        return OSError(f'{self._path} could not be written whole; is the disk '
                       f'full? ({error})')


class JsonListWriter:
    """A JSON file of a list that gets its name when it is closed.

    What ``write_json`` makes of the list, without holding it in memory.

    Args:
        path (str): The file.
        indent (str, optional): As in ``json.dump``. Defaults to none: an item
            a line.
        opening (str): What stands before the items. Defaults to ``'['``.
        lazy (bool): Whether there is no file without items. Defaults to
            ``False``.
    """

    def __init__(self,
                 path: str,
                 indent: Optional[str] = None,
                 opening: str = '[',
                 lazy: bool = False):
        self._path, self._indent, self._next = path, indent, opening
        self._file = None if lazy else _TextFile(path)

    def write(self, item: Any) -> None:
        """Append an item.

        Args:
            item (Any): Of JSON's types.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
        """
        if self._file is None:
            self._file = _TextFile(self._path)
        # JSON has no line breaks but those of its layout.
        text = json.dumps(item, indent=self._indent)
        start = '\n' + (self._indent or '')
        self._file.write(self._next + start + text.replace('\n', start))
        self._next = ','

    def close(self, closing: str = ']') -> None:
        """Finish the file.

        Args:
            closing (str): What stands after the items. Defaults to ``']'``.

        Raises:
            OSError: If it cannot be written; nothing of it stays.
        """
        if self._file is None or not self._file.whole:
            return
        # Without items, what stands before them.
        start = '\n' if self._next == ',' else self._next
        try:
            self._file.write(start + closing)
        finally:
            self._file.close()
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
        self._file = _TextFile(path)
        self._rows = csv.writer(self._file)
        self._rows.writerow([
            'source', 'frame', 'seconds', 'track_id', 'left', 'top', 'right',
            'bottom', 'box_score', *(f'{name}_{what}' for name in names
                                     for what in ('x', 'y', 'score'))
        ])

    def __call__(self, result: PoseResult) -> None:
        """Write the people of a frame.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
        """
        ids = result.track_ids
        self._rows.writerows([
            result.source.title, result.frame_id, f'{result.seconds:.6f}',
            None if ids is None else ids[i],
            *result.bboxes[i].astype(float).round(2).tolist(),
            round(float(result.bbox_scores[i]), 5),
            *np.column_stack([points, result.keypoint_scores[i]]).astype(
                float).round(5).ravel().tolist()
        ] for i, points in enumerate(result.keypoints))

    def close(self) -> None:
        """Finish the file. Of what fails elsewhere, the rows are kept."""
        self._file.close()


class OpenPoseWriter:
    """A file of key points for each frame, as OpenPose's ``--write_json``.

    ``pose_keypoints_2d`` has the network's key points in their order.

    Args:
        folder (str): The folder of the files, ``NAME_keypoints.json`` for a
            picture and ``NAME_000000000000_keypoints.json`` for a frame.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, result: PoseResult) -> None:
        """Write the people of a frame."""
        ids = result.track_ids
        others = ('face', 'hand_left', 'hand_right')
        number = '' if result.frame_id is None else f'_{result.frame_id:012}'
        stem = osp.splitext(result.source.name)[0]
        write_json(
            osp.join(self.folder, f'{stem}{number}_keypoints.json'),
            dict(
                version=1.3,
                people=[
                    dict(
                        person_id=[-1 if ids is None else int(ids[i])],
                        pose_keypoints_2d=np.column_stack(
                            [points,
                             result.keypoint_scores[i]]).ravel().tolist(),
                        **{f'{part}_keypoints_2d': []
                           for part in others})
                    for i, points in enumerate(result.keypoints)
                ]))

    def close(self) -> None:
        """Do nothing: each file is whole."""


class CocoResults:
    """COCO's key-point results of pictures.

    The file gets its name when it is closed.

    Args:
        path (str): The file.
        ids (ImageIds): Ids of the pictures.
    """

    def __init__(self, path: str, ids: ImageIds):
        self._ids, self._list = ids, JsonListWriter(path)

    def __call__(self, result: PoseResult) -> None:
        """Write the people of a picture; frames of videos are left out.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
            ValueError: If the picture has no id.
        """
        if result.frame_id is None:
            for person in keypoint_results(
                    self._ids.find(result.source.path), result.keypoints,
                    result.keypoint_scores, result.bbox_scores):
                self._list.write(person)

    def close(self) -> None:
        """Finish the file."""
        self._list.close()


class CocoAnnotations:
    """Annotations of pictures in COCO's format, to correct and train on.

    The file gets its name when it is closed. People are written as the run
    goes, pictures at its end.

    Args:
        path (str): The file.
        ids (ImageIds): Ids of the pictures.
        folder (str): The folder that file names are relative to.
        names (Sequence[str]): Names of the key points.
        skeleton (Sequence[Sequence[int]]): Pairs of indices of key points.
        score_thr (float): Key points with at most this score are not
            labelled; people without any other are left out.
    """

    def __init__(self, path: str, ids: ImageIds, folder: str,
                 names: Sequence[str], skeleton: Sequence[Sequence[int]],
                 score_thr: float):
        self._ids, self._folder, self._score_thr = ids, folder, score_thr
        self._people = JsonListWriter(path, opening='{"annotations": [')
        self._count = 0
        self._others: Dict[str, List[Dict[str, Any]]] = dict(
            images=[],
            categories=[
                dict(
                    id=PERSON,
                    name='person',
                    supercategory='person',
                    keypoints=list(names),
                    skeleton=[[a + 1, b + 1] for a, b in skeleton])
            ])

    def __call__(self, result: PoseResult) -> None:
        """Add a picture and its people; frames of videos are left out.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
            ValueError: If the picture has no id.
        """
        if result.frame_id is not None:
            return
        name = result.source.title
        image_id = self._ids.find(result.source.path)
        if not is_url(name):
            name = osp.relpath(name, self._folder).replace(os.sep, '/')
        height, width = result.image.shape[:2]
        self._others['images'].append(
            dict(id=image_id, file_name=name, width=width, height=height))
        for box, points, scores in zip(result.bboxes, result.keypoints,
                                       result.keypoint_scores):
            seen = scores > self._score_thr
            left, top, right, bottom = box.clip(
                0, [width, height, width, height
                    ]).astype(float).round(2).tolist()
            if not seen.any() or right <= left or bottom <= top:
                continue
            flags = np.where(seen, 2, 0)  # labelled and visible, or neither
            points = np.where(seen[:, None], points, 0).astype(float).round(2)
            area = (right - left) * (bottom - top)
            self._count += 1
            self._people.write(
                dict(
                    id=self._count,
                    image_id=image_id,
                    category_id=PERSON,
                    bbox=[left, top, right - left, bottom - top],
                    area=area,
                    iscrowd=0,
                    num_keypoints=int(seen.sum()),
                    keypoints=np.column_stack([points,
                                               flags]).ravel().tolist()))

    def close(self) -> None:
        """Finish the file."""
        self._people.close(f'], {json.dumps(self._others)[1:]}')


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


class SourceWriter:
    """Writes what there is of a source, as MMPose's inferencers lay it out.

    ``predictions/NAME.json`` and ``visualizations/NAME``, which get their
    names when it is closed.

    Args:
        out_dir (str): The folder of all results.
        source (Source): The source.
    """

    def __init__(self, out_dir: str, source: Source):
        self._prediction, self._drawing = result_paths(out_dir, source)
        self._context = ExitStack()
        self._frames: Optional[JsonListWriter] = None
        self._video: Optional[VideoWriter] = None

    def write(self, result: PoseResult, drawn: Optional[np.ndarray]) -> None:
        """Write the picture or the next frame.

        Args:
            result (PoseResult): Its people.
            drawn (np.ndarray, optional): The people drawn, if they are to be.

        Raises:
            OSError: If it cannot be written.
            ValueError: If a frame has another size than those before.
        """
        if result.frame_id is None:
            if drawn is not None:
                write_image(self._drawing, drawn)
            write_json(self._prediction, result.instances(), indent='  ')
            return
        if self._frames is None:
            self._frames = JsonListWriter(self._prediction, '  ', lazy=True)
            self._context.enter_context(closing(self._frames))
        if drawn is not None:
            if self._video is None:
                self._video = VideoWriter(self._drawing, result.fps)
                self._context.enter_context(closing(self._video))
            self._video.write(drawn, result.seconds)
        self._frames.write(
            dict(frame_id=result.frame_id, instances=result.instances()))

    def close(self) -> None:
        """Finish the files; whatever ended the source, its frames are kept.

        Raises:
            OSError: If one could not be written whole.
        """
        self._context.close()


def result_paths(out_dir: str, source: Source) -> Tuple[str, str]:
    """Where the results of a source go, as MMPose's inferencers lay them out.

    Args:
        out_dir (str): The folder of all results.
        source (Source): The source.

    Returns:
        tuple[str, str]: The JSON file and the drawn picture or video.
    """
    rename = picture_name if source.kind == 'image' else video_name
    return (osp.join(out_dir, 'predictions',
                     osp.splitext(source.name)[0] + '.json'),
            osp.join(out_dir, 'visualizations', rename(source.name)))
