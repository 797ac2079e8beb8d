"""Skeletons drawn by the package supervision."""
from typing import Optional, Sequence

import numpy as np

LABEL_HEIGHT = 32  # pixels, of supervision's


class Drawer:
    """Draws people into images, each in a colour.

    Args:
        skeleton (Sequence[Sequence[int]]): Pairs of indices of key points to
            draw lines between; without, key points are drawn alone.
        score_thr (float): Key points with at most this score are left out.
            Defaults to 0.3, as in MMPose's inferencers.
        draw_boxes (bool): Whether to draw the boxes, too. Defaults to
            ``False``.

    Raises:
        ImportError: If supervision is not installed.
    """

    def __init__(self,
                 skeleton: Sequence[Sequence[int]],
                 score_thr: float = 0.3,
                 draw_boxes: bool = False):
        import supervision
        self._sv = supervision
        self._edges = [(a + 1, b + 1) for a, b in skeleton]  # from 1 there
        self.score_thr = score_thr
        self.draw_boxes = draw_boxes

    def draw(self,
             image: np.ndarray,
             boxes: np.ndarray,
             keypoints: np.ndarray,
             scores: np.ndarray,
             track_ids: Optional[np.ndarray] = None) -> np.ndarray:
        """Draw the M people of an image.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
            boxes (np.ndarray): Boxes, (left, top, right, bottom), of shape
                ``(M, 4)``.
            keypoints (np.ndarray): Key points of shape ``(M, K, 2)``.
            scores (np.ndarray): Their scores, of shape ``(M, K)``.
            track_ids (np.ndarray, optional): Track ids of shape ``(M, )``,
                which then choose the colours and are written beside the
                people; -1 for none.

        Returns:
            np.ndarray: The drawn image, another array.
        """
        sv, image = self._sv, image.copy()
        if not len(boxes):
            return image
        colors = np.arange(len(boxes))
        if track_ids is not None:
            colors = np.where(track_ids < 0, colors, track_ids)
        thickness = sv.calculate_optimal_line_thickness(image.shape[1::-1])
        for color, points, seen in zip(colors, keypoints.astype(np.float32),
                                       scores > self.score_thr):
            color = sv.ColorPalette.DEFAULT.by_idx(int(color))
            # Without edges supervision takes those of another skeleton.
            if self._edges:
                # Of edges it leaves out what is at (0, 0).
                edges = sv.KeyPoints(
                    xy=np.where(seen[:, None], points, 0)[None])
                image = sv.EdgeAnnotator(color, thickness,
                                         self._edges).annotate(image, edges)
            if seen.any():
                image = sv.VertexAnnotator(color, thickness + 1).annotate(
                    image, sv.KeyPoints(xy=points[seen][None]))
        detections = sv.Detections(
            xyxy=boxes.astype(np.float32), class_id=colors)
        if self.draw_boxes:
            image = sv.BoxAnnotator(thickness=thickness).annotate(
                image, detections)
        if track_ids is not None and (track_ids >= 0).any():
            tracked = detections[track_ids >= 0]
            # Labels stand on the boxes, and would be outside.
            tracked.xyxy = tracked.xyxy.clip([0, LABEL_HEIGHT, 0, 0], None)
            image = sv.LabelAnnotator().annotate(
                image, tracked,
                [f'{number}' for number in track_ids[track_ids >= 0]])
        return image
