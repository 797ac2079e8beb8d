"""People of a video from frame to frame: who is who, and smooth motion.

Tracking is ByteTrack (arXiv 2110.06864) of the package trackers, smoothing
the 1 euro filter (Casiez et al., CHI 2012) of its authors' OneEuroFilter.
"""
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

# A box with a lower score keeps its track going but starts none.
NEW_TRACK_SCORE = 0.5
LOST_SECONDS = 1.  # that a track waits for its person
FPS = 30.  # in which ByteTrack's motion model counts time
# Of the filter: the cutoff at rest, in Hz, and what a speed of one box
# height per second adds to it.
MIN_CUTOFF = 1.
SPEED_CUTOFF = 20.


class Tracker:
    """Tells the people of successive frames apart.

    Raises:
        ImportError: If the package trackers is not installed.
    """

    def __init__(self) -> None:
        from supervision import Detections
        from trackers import ByteTrackTracker
        self._detections = Detections
        self._tracker = ByteTrackTracker(
            frame_rate=FPS,
            track_activation_threshold=NEW_TRACK_SCORE,
            high_conf_det_threshold=NEW_TRACK_SCORE)
        self._last = 0.

    def update(self, seconds: float, boxes: np.ndarray,
               scores: np.ndarray) -> np.ndarray:
        """Find who is in the next frame.

        Args:
            seconds (float): Time of the frame, in seconds, later than the
                one before.
            boxes (np.ndarray): Boxes of M people, (left, top, right, bottom),
                of shape ``(M, 4)``.
            scores (np.ndarray): Their scores, of shape ``(M, )``.

        Returns:
            np.ndarray: Track ids of shape ``(M, )``, -1 for those who have
            none: in the first frame they are seen in, or with a score below
            ``NEW_TRACK_SCORE`` and no track to continue.
        """
        # Always until the next frame, however late that is.
        self._tracker.maximum_time_without_update = max(
            LOST_SECONDS, 1.01 * (seconds - self._last))
        self._last = seconds
        tracked = self._tracker.update(
            self._detections(
                xyxy=boxes.astype(float),
                confidence=scores,
                data=dict(index=np.arange(len(boxes)))),
            timestamp=seconds)
        ids: np.ndarray = np.full(len(boxes), -1)
        if len(tracked):
            ids[tracked.data['index']] = tracked.tracker_id
        return ids


class Smoother:
    """Takes the jitter out of key points of tracked people.

    Raises:
        ImportError: If the package OneEuroFilter is not installed.
    """

    def __init__(self) -> None:
        from OneEuroFilter import OneEuroFilter

        # The rate is that of the time stamps from the second one on.
        self._make: Callable[[], Any] = lambda: OneEuroFilter(FPS, MIN_CUTOFF)
        # By track: when it was last seen, and a filter for each coordinate.
        self._tracks: Dict[int, Tuple[float, List[List[Any]]]] = {}

    def smooth(self, seconds: float, ids: np.ndarray, boxes: np.ndarray,
               keypoints: np.ndarray) -> np.ndarray:
        """Smooth the key points of a frame.

        Args:
            seconds (float): Time of the frame, in seconds.
            ids (np.ndarray): Track ids of shape ``(M, )``.
            boxes (np.ndarray): Boxes of shape ``(M, 4)``, whose heights the
                speeds are measured in.
            keypoints (np.ndarray): Key points of shape ``(M, K, 2)``.

        Returns:
            np.ndarray: Smooth ones, of the same shape; those of people
            without a track are as they were.
        """
        for number in list(self._tracks):
            if seconds - self._tracks[number][0] > LOST_SECONDS:
                del self._tracks[number]
        smooth: np.ndarray = keypoints.copy()
        for i, number in enumerate(ids.tolist()):
            if number < 0:
                continue
            filters = self._tracks[number][1] if number in self._tracks else [
                [self._make() for _ in point] for point in keypoints[i]
            ]
            beta = SPEED_CUTOFF / (boxes[i, 3] - boxes[i, 1])
            for k, point in enumerate(keypoints[i].tolist()):
                for axis, value in enumerate(point):
                    filters[k][axis].setBeta(beta)
                    # To the filter, the time 0 is none.
                    smooth[i, k, axis] = filters[k][axis](value, seconds + 1)
            self._tracks[number] = seconds, filters
        return smooth
