"""Key points of people in pictures, videos and cameras, drawn and as JSON.

Itself needs neither torch nor MMPose; a checkpoint or a detector does.
"""
import os
import os.path as osp
import sys
from collections import defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from typing import (Any, Callable, DefaultDict, Dict, Iterator, List, Optional,
                    Sequence, Tuple)

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import write_json
from lgm_pose_plugin.utils.progress import Progress
from lgm_pose_plugin.visualization.skeletons import Drawer
from .coco_files import Boxes, ImageIds, from_xywh, keypoint_results
from .results import (Frame, JsonListWriter, People, VideoWriter, picture_name,
                      video_name, write_image)
from .sources import (DEFAULT_FPS, TIMEOUT, Source, Video, further_frames,
                      read_image)
from .tracking import Smoother, Tracker

# A network: (image, boxes) -> key points, scores, as PoseRuntime.
Network = Callable[[np.ndarray, np.ndarray], Tuple[np.ndarray, np.ndarray]]
# Who is in an image: (image, path) -> boxes.
FindPeople = Callable[[np.ndarray, str], Boxes]

# A person's box by the rectangle around the key points, in width and height:
# medians on COCO, see docs/predict.md.
KEYPOINTS_TO_BOX = (1.3, 1.2)
# Key points of lower scores do not count for it.
KEYPOINT_THR = 0.3
# Windows of a first pass: width by height, and what networks pad boxes by.
WINDOW_RATIO, PADDING = 3 / 4, 1.25
MAX_WINDOWS = 16


def whole_image(image: np.ndarray, path: str) -> Boxes:
    """Take the whole image as one person, a :data:`FindPeople`."""
    return from_xywh([[0, 0, *image.shape[1::-1]]])


def look_twice(network: Network) -> FindPeople:
    """Take an image as one person, whose box a first pass finds.

    The first pass looks at the whole image and at windows of it, see
    :func:`windows`. The box goes around the key points where they score
    highest, so that the network then sees the person alone.

    Args:
        network (callable): See :data:`Network`.

    Returns:
        callable: See :data:`FindPeople`. Where the first pass finds nobody,
        it gives the whole image.
    """

    def find_people(image: np.ndarray, path: str) -> Boxes:
        whole = whole_image(image, path)
        boxes = np.concatenate([whole.boxes, windows(*image.shape[1::-1])])
        keypoints, scores = network(image, boxes)
        best = scores.mean(1).argmax()
        taken = slice(best, best + 1)
        found = boxes_of_keypoints(
            People(boxes[taken], whole.scores, keypoints[taken],
                   scores[taken]), image)
        return found if len(found.boxes) else whole

    return find_people


def windows(width: int, height: int) -> np.ndarray:
    """Make boxes whose crops a person fills that stands in a wide image.

    Args:
        width (int): Width of the image in pixels.
        height (int): Its height.

    Returns:
        np.ndarray: Boxes of ``WINDOW_RATIO``, as large as the image has room
        for once padding is added, from left to right or from top to bottom
        with a half in common, at most ``MAX_WINDOWS``; float32 of shape
        ``(M, 4)``.
    """
    side = np.minimum([width, height],
                      [height * WINDOW_RATIO, width / WINDOW_RATIO])
    room = np.array([width, height]) - side
    count = int(np.ceil(2 * room / side).max()) + 1
    centers = side / 2 + room * np.linspace(0, 1, min(count,
                                                      MAX_WINDOWS))[:, None]
    half = side / 2 / PADDING
    return np.hstack([centers - half, centers + half]).astype(np.float32)


@dataclass
class Predictor:
    """Runs a network on sources and writes the results.

    Args:
        network (callable): See :data:`Network`.
        find_people (callable): See :data:`FindPeople`.
        out_dir (str, optional): Folder to write ``predictions`` and, with a
            drawer, ``visualizations`` to.
        drawer (Drawer, optional): Draws the people.
        track (bool): Whether to give people track ids. The pictures of a
            folder are then the frames of a video. Defaults to ``False``.
        smooth (bool): Whether to smooth the key points of tracked people.
            Defaults to ``False``.
        find_every (int): Frames from one search for people to the next. In
            between, boxes are put around the key points of the frame before,
            as long as everybody has enough of them. Defaults to 1.
        picture_fps (float): Pictures per second of a folder that is tracked,
            smoothed or not searched at each of them. Defaults to 30.
        timeout (float): Seconds that a stream may give nothing. Defaults to
            ``TIMEOUT``.
        show (bool): Whether to show the images in a window; q ends it.
            Defaults to ``False``.
        image_ids (ImageIds, optional): Ids of the pictures, for ``results``.
        sinks (Sequence[callable]): Each is given every :class:`Frame` that is
            done, in order. Defaults to none.

    Attributes:
        results (list[dict]): COCO's key-point results of the pictures so far.
    """

    network: Network
    find_people: FindPeople
    out_dir: Optional[str] = None
    drawer: Optional[Drawer] = None
    track: bool = False
    smooth: bool = False
    find_every: int = 1
    picture_fps: float = DEFAULT_FPS
    timeout: float = TIMEOUT
    show: bool = False
    image_ids: Optional[ImageIds] = None
    sinks: Sequence[Callable[[Frame], None]] = ()
    results: List[Dict[str, Any]] = field(default_factory=list)

    def run(self, sources: Sequence[Source], progress: Progress) -> None:
        """Predict sources; one that fails is reported, the others go on.

        Args:
            sources (Sequence[Source]): The sources.
            progress (Progress): Counts, and tells when to stop.
        """
        # The pictures of each folder, and their numbers, as frames of a video.
        folders: DefaultDict[str, Tuple[Follower, Iterator[int]]]
        folders = defaultdict(lambda: (Follower(self), count()))
        nobody = []
        for source in sources:
            if progress.stopped is not None:
                break
            try:
                if source.kind == 'image':
                    follow, index = folders[osp.dirname(source.path)]
                    seconds = next(index) / self.picture_fps
                    if not self._predict_image(source, follow, seconds,
                                               progress):
                        nobody.append(source.title)
                else:
                    self._predict_video(source, progress)
            # Memory is one of runtimes' errors, and one of its own of NumPy.
            except (MemoryError, OSError, RuntimeError, ValueError,
                    cv2.error) as error:
                progress.fail(f'{source.title}: {error}')
        if nobody:
            progress.note(f'nobody in {len(nobody)} of the pictures, the '
                          f'first is {nobody[0]}')
        if self.show:
            cv2.destroyAllWindows()

    def people(self, image: np.ndarray, boxes: Boxes) -> People:
        """Run the network on the people of an image.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
            boxes (Boxes): Who is in it.

        Returns:
            People: With their key points.
        """
        return People(*boxes, *self.network(image, boxes.boxes))

    def _predict_image(self, source: Source, follow: 'Follower',
                       seconds: float, progress: Progress) -> int:
        """Predict a picture; return how many people are in it."""
        image = read_image(source.path, self.timeout)
        further = further_frames(source.path)
        if further:
            progress.note(f'{source.title}: the first of {further + 1} frames '
                          f'or pages; {further} are left out')
        people = follow(image, seconds, source.path)
        if self.image_ids is not None:
            self.results += keypoint_results(
                self.image_ids.find(source.path), people.keypoints,
                people.scores, people.box_scores)
        frame = Frame(source, None, seconds, image.shape[1::-1], people)
        for sink in self.sinks:
            sink(frame)
        drawn = self._draw(image, people)
        if self.out_dir is not None:
            prediction, picture = result_paths(self.out_dir, source)
            if drawn is not None:
                write_image(picture, drawn)
            write_json(prediction, people.instances(), indent='  ')
        progress.advance()
        self._show(drawn, progress, wait=0)
        return len(people.boxes)

    def _predict_video(self, source: Source, progress: Progress) -> None:
        predictions = drawing = None
        # Whatever ends it, what there is of it is kept.
        with ExitStack() as stack:
            video = stack.enter_context(closing(Video(source, self.timeout)))
            follow = Follower(self)
            if self.out_dir is not None:
                prediction, picture = result_paths(self.out_dir, source)
                predictions = stack.enter_context(
                    closing(JsonListWriter(prediction)))
                if self.drawer:
                    drawing = stack.enter_context(
                        closing(VideoWriter(picture, video.fps)))
            for frame_id, (seconds, image) in enumerate(video):
                people = follow(image, seconds, source.path)
                frame = Frame(source, frame_id, seconds, image.shape[1::-1],
                              people)
                for sink in self.sinks:
                    sink(frame)
                drawn = self._draw(image, people)
                if drawing and drawn is not None:
                    drawing.write(drawn, seconds)
                if predictions:
                    predictions.write(
                        dict(frame_id=frame_id, instances=people.instances()))
                progress.advance()
                self._show(drawn, progress, wait=1)
                if progress.stopped is not None:
                    break

    def _draw(self, image: np.ndarray, people: People) -> Optional[np.ndarray]:
        if self.drawer is None:
            return None
        return self.drawer.draw(image, people.boxes, people.keypoints,
                                people.scores, people.track_ids)

    def _show(self, drawn: Optional[np.ndarray], progress: Progress,
              wait: int) -> None:
        """Show an image until a key or ``wait`` ms; q and Escape end it."""
        if self.show and drawn is not None:
            cv2.imshow(WINDOW, drawn)
            if cv2.waitKey(wait) & 0xff in (ord('q'), 27):
                progress.stop()


class Follower:
    """Predicts the frames of one video after the other.

    Args:
        predictor (Predictor): Predicts a frame.
    """

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self._tracker = Tracker() if predictor.track else None
        self._smoother = Smoother() if predictor.smooth else None
        self._frame = 0
        self._last: Optional[People] = None

    def __call__(self, image: np.ndarray, seconds: float, path: str) -> People:
        """Predict the next frame.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
            seconds (float): Its time in seconds, later than that of the frame
                before.
            path (str): The video or picture it is of.

        Returns:
            People: Who is in it.
        """
        boxes = None
        if self._last is not None and self._frame % self.predictor.find_every:
            boxes = boxes_of_keypoints(self._last, image)
            # Somebody has gone, or can only be seen by the detector.
            if len(boxes.boxes) < max(1, len(self._last.boxes)):
                boxes = None
        if boxes is None:
            boxes = self.predictor.find_people(image, path)
        self._frame += 1
        people = self._last = self.predictor.people(image, boxes)
        if self._tracker is not None:
            ids = self._tracker.update(seconds, people.boxes,
                                       people.box_scores)
            people = people._replace(track_ids=ids)
            if self._smoother is not None:
                people = people._replace(
                    keypoints=self._smoother.smooth(seconds, ids, people.boxes,
                                                    people.keypoints))
        return people


def boxes_of_keypoints(people: People, image: np.ndarray) -> Boxes:
    """Put boxes around key points, for the frame that follows.

    A network that finds key points at the rim of each crop makes the box of
    the next frame larger and larger; such boxes are left out.

    Args:
        people (People): Who was in the frame before.
        image (np.ndarray): The frame that follows, of shape ``(H, W, 3)``.

    Returns:
        Boxes: Boxes of the key points that scored above ``KEYPOINT_THR``,
        without people who have fewer than two such points apart in both
        directions, and those that are outside of the image or more than four
        times as wide or high.
    """
    seen = people.scores[..., None] > KEYPOINT_THR
    low = np.where(seen, people.keypoints, np.inf).min(1)
    high = np.where(seen, people.keypoints, -np.inf).max(1)
    kept = (high > low).all(1)
    low, high, scores = low[kept], high[kept], people.box_scores[kept]
    center, half = (low + high) / 2, (high - low) / 2 * KEYPOINTS_TO_BOX
    low, high = center - half, center + half
    size = np.array(image.shape[1::-1])
    kept = ((high > 0) & (low < size) & (high - low <= 4 * size)).all(1)
    return Boxes(
        np.float32(np.hstack([low, high])[kept]), np.float32(scores[kept]))


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


WINDOW = 'lgm-pose predict'


def check_display() -> None:
    """Open the window that images are shown in.

    Raises:
        ValueError: If there is no display, or OpenCV was built without.
    """
    # Without a display, Qt would end the process.
    if sys.platform.startswith('linux') and not (
            os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        raise ValueError('there is no display, which --show needs')
    try:
        cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL)
    except cv2.error as error:
        raise ValueError('--show needs opencv-python in place of '
                         'opencv-python-headless') from error
