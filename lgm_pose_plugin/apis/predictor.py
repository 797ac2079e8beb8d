"""Key points of people in pictures, videos and cameras.

Itself needs neither torch nor MMPose; a checkpoint or a detector does.
"""
import os.path as osp
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import (Callable, DefaultDict, Generator, List, NamedTuple,
                    Optional, Sequence, Set, Tuple, Union)

import numpy as np

from lgm_pose_plugin.runtime.pose_runtime import KeyPoints
from lgm_pose_plugin.utils.threads import run_ahead
from .coco_files import Boxes, from_xywh
from .results import PoseResult
from .sources import (DEFAULT_FPS, ERRORS, TIMEOUT, Failure, Frame, Source,
                      read_frames)
from .tracking import Smoother, Tracker

# A network: images, boxes of each -> key points and scores of each, as
# PoseRuntime.predict_batch.
Network = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]],
                   List[KeyPoints]]
# Who is in an image, as PersonDetector.
FindPeople = Callable[[np.ndarray], Boxes]

# A person's box by the rectangle around the key points, in width and height:
# medians on COCO, see docs/predict.md.
KEYPOINTS_TO_BOX = (1.3, 1.2)
# Key points of lower scores do not count for it.
KEYPOINT_THR = 0.3
# Windows of a first pass: width by height, and what networks pad boxes by.
WINDOW_RATIO, PADDING = 3 / 4, 1.25
MAX_WINDOWS = 16
# Frames that wait between two stages. More would take memory and change
# nothing, unless the stages' times vary.
AHEAD = 4


def whole_image(image: np.ndarray) -> Boxes:
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

    def find_people(image: np.ndarray) -> Boxes:
        whole = whole_image(image)
        boxes = np.concatenate([whole.boxes, windows(*image.shape[1::-1])])
        (keypoints, scores), = network([image], [boxes])
        best = scores.mean(1).argmax()
        taken = slice(best, best + 1)
        found = boxes_of_keypoints(keypoints[taken], scores[taken],
                                   whole.scores, image)
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
    """Finds the people of sources and their key points.

    Reading, the network and who takes the results run at the same time, see
    :func:`~lgm_pose_plugin.utils.threads.run_ahead`.

    Args:
        network (callable): See :data:`Network`.
        find_people (callable): Who is in a frame: Frame -> Boxes.
        skeleton (Sequence[Sequence[int]]): For the results to be drawn.
            Defaults to none.
        track (bool): Whether to give people track ids. The pictures of a
            folder are then the frames of a video. Defaults to ``False``.
        smooth (bool): Whether to smooth the key points of tracked people,
            which includes ``track``. Defaults to ``False``.
        find_every (int): Frames from one search for people to the next. In
            between, boxes are put around the key points of the frame before,
            as long as everybody has enough of them. Defaults to 1.
        batch_size (int): Frames, also of several sources, whose people are
            one batch of the network. With ``find_every`` above 1, a frame
            waits for the one before it, and it is 1. Defaults to 1.
        picture_fps (float): Pictures per second of a folder that is tracked,
            smoothed or not searched at each of them. Defaults to 30.
        timeout (float): Seconds that a stream may give nothing. Defaults to
            ``TIMEOUT``.

    Attributes:
        skipped (set[str]): Names of the sources that failed. Who takes the
            results may add one that is to end.
    """

    network: Network
    find_people: Callable[[Frame], Boxes]
    skeleton: Sequence[Sequence[int]] = ()
    track: bool = False
    smooth: bool = False
    find_every: int = 1
    batch_size: int = 1
    picture_fps: float = DEFAULT_FPS
    timeout: float = TIMEOUT
    skipped: Set[str] = field(default_factory=set, init=False)

    def predict(
        self,
        sources: Sequence[Source],
        on_error: Optional[Callable[[Source, Exception], None]] = None
    ) -> Generator[PoseResult, None, None]:
        """Predict sources, one after the other.

        Args:
            sources (Sequence[Source]): The sources.
            on_error (callable, optional): Is told a source that fails, and
                why; the others go on. Defaults to raising.

        Yields:
            PoseResult: The people of each picture and frame, in order.

        Raises:
            ValueError: If a source fails, without ``on_error``.
        """
        size = max(AHEAD, self.batch_size)
        frames = read_frames(sources, self.picture_fps, self.timeout,
                             self.skipped)
        found = run_ahead(self._find(run_ahead(frames, size)), size)
        with closing(found):
            for one in found:
                # Of a source that failed, more may be under way.
                if one.source.name in self.skipped:
                    continue
                if isinstance(one, PoseResult):
                    yield one
                    continue
                self.skipped.add(one.source.name)
                if on_error is None:
                    raise ValueError(
                        f'{one.source.title}: {one.error}') from one.error
                on_error(one.source, one.error)

    def _find(
        self, frames: Generator[Union[Frame, Failure], None, None]
    ) -> Generator[Union[PoseResult, Failure], None, None]:
        """Find the people of frames."""
        # Of the pictures of each folder; and, by None, of the video at hand.
        followers: DefaultDict[Optional[str], Follower]
        followers = defaultdict(lambda: Follower(self))
        size = 1 if self.find_every > 1 else self.batch_size
        batch: List[_Found] = []
        with closing(frames):
            for frame in frames:
                found = frame if isinstance(frame, Failure) else self._search(
                    frame, followers)
                if isinstance(found, Failure):
                    yield from self._run(batch)
                    yield found
                    batch = []
                    continue
                batch.append(found)
                if len(batch) >= size:
                    yield from self._run(batch)
                    batch = []
            yield from self._run(batch)

    def _search(
        self, frame: Frame, followers: DefaultDict[Optional[str], 'Follower']
    ) -> Union['_Found', Failure]:
        """Find the people of a frame, by the frame before or by a search."""
        folder = None
        if frame.frame_id is None:
            folder = osp.dirname(frame.source.path)
        elif frame.frame_id == 0:
            followers.pop(None, None)
        follower = followers[folder]
        try:
            boxes = follower.boxes(frame)
            if boxes is None:
                boxes = self.find_people(frame)
        except ERRORS as error:
            return Failure(frame.source, error)
        return _Found(frame, boxes, follower)

    def _run(
        self, batch: Sequence['_Found']
    ) -> Generator[Union[PoseResult, Failure], None, None]:
        """Run the network on the people of frames."""
        if not batch:
            return
        try:
            found = self.network([one.frame.image for one in batch],
                                 [one.boxes.boxes for one in batch])
        except ERRORS as error:
            if len(batch) == 1:
                yield Failure(batch[0].frame.source, error)
                return
            # Whose it is.
            for one in batch:
                yield from self._run([one])
            return
        for (frame, boxes, follower), keypoints in zip(batch, found):
            try:
                result: Union[PoseResult, Failure] = follower.follow(
                    PoseResult(
                        **vars(frame),
                        bboxes=boxes.boxes,
                        bbox_scores=boxes.scores,
                        keypoints=keypoints[0],
                        keypoint_scores=keypoints[1],
                        skeleton=self.skeleton))
            except ERRORS as error:
                result = Failure(frame.source, error)
            yield result


class _Found(NamedTuple):
    """A frame and who is in it."""
    frame: Frame
    boxes: Boxes
    follower: 'Follower'


class Follower:
    """Follows people through the frames of one video.

    Args:
        predictor (Predictor): Says how.
    """

    def __init__(self, predictor: Predictor):
        track = predictor.track or predictor.smooth
        self._every = predictor.find_every
        self._tracker = Tracker() if track else None
        self._smoother = Smoother() if predictor.smooth else None
        self._count = 0
        # Key points, their scores, and the boxes'.
        self._last: Optional[Tuple[np.ndarray, ...]] = None

    def boxes(self, frame: Frame) -> Optional[Boxes]:
        """Put boxes where people were in the frame before.

        Args:
            frame (Frame): The next frame.

        Returns:
            Boxes, optional: The boxes; ``None`` if people are to be searched,
            since it is time, or somebody has gone or can only be found so.
        """
        if self._last is None or not self._count % self._every:
            return None
        keypoints, scores, box_scores = self._last
        boxes = boxes_of_keypoints(keypoints, scores, box_scores, frame.image)
        return boxes if len(boxes.boxes) >= max(1, len(keypoints)) else None

    def follow(self, result: PoseResult) -> PoseResult:
        """Take the people of the next frame.

        Args:
            result (PoseResult): Who is in it. Its time is later than that of
                the frame before.

        Returns:
            PoseResult: The same with track ids and smooth key points, as
            asked for.
        """
        self._count += 1
        if self._every > 1:
            # Copies, since the arrays are the taker's.
            self._last = (result.keypoints.copy(),
                          result.keypoint_scores.copy(),
                          result.bbox_scores.copy())
        if self._tracker is not None:
            ids = self._tracker.update(result.seconds, result.bboxes,
                                       result.bbox_scores)
            result = replace(result, track_ids=ids)
            if self._smoother is not None:
                result.keypoints = self._smoother.smooth(
                    result.seconds, ids, result.bboxes, result.keypoints)
        return result


def boxes_of_keypoints(keypoints: np.ndarray, scores: np.ndarray,
                       box_scores: np.ndarray, image: np.ndarray) -> Boxes:
    """Put boxes around key points, for the frame that follows.

    A network that finds key points at the rim of each crop makes the box of
    the next frame larger and larger; such boxes are left out.

    Args:
        keypoints (np.ndarray): Key points of the frame before, of shape
            ``(M, K, 2)``.
        scores (np.ndarray): Their scores, of shape ``(M, K)``.
        box_scores (np.ndarray): Scores of the boxes there, of shape ``(M, )``.
        image (np.ndarray): The frame that follows, of shape ``(H, W, 3)``.

    Returns:
        Boxes: Boxes of the key points that scored above ``KEYPOINT_THR``,
        without people who have fewer than two such points apart in both
        directions, and those that are outside of the image or more than four
        times as wide or high.
    """
    seen = scores[..., None] > KEYPOINT_THR
    low = np.where(seen, keypoints, np.inf).min(1)
    high = np.where(seen, keypoints, -np.inf).max(1)
    kept = (high > low).all(1)
    low, high, box_scores = low[kept], high[kept], box_scores[kept]
    center, half = (low + high) / 2, (high - low) / 2 * KEYPOINTS_TO_BOX
    low, high = center - half, center + half
    size = np.array(image.shape[1::-1])
    kept = ((high > 0) & (low < size) & (high - low <= 4 * size)).all(1)
    return Boxes(
        np.float32(np.hstack([low, high])[kept]), np.float32(box_scores[kept]))
