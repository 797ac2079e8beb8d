"""Run exported person detectors without torch and MMDetection.

Needs NumPy, OpenCV and ONNX Runtime or OpenVINO. Files are those of
``lgm-pose export`` and the ONNX files that rtmlib runs: RTMDet and YOLOX that
MMDeploy exported, and YOLOX of its authors' repository.
"""
import os.path as osp
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .metadata import MAX_SIDE, read_metadata
from .onnx_file import check_onnx, input_operators
from .preprocessing import check_image, letterbox, normalize
from .session import MAX_BATCH, open_session

# What rtmlib does, in the terms of our metadata. It names no classes.
_RTMLIB: Dict[str, Any] = dict(
    normalize=False, bgr_to_rgb=False, pad_value=[114] * 3, classes=[])
_YOLOX = dict(_RTMLIB, mean=[0.] * 3, std=[1.] * 3)
_RTMDET = dict(
    _RTMLIB, mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395])
# Of files that leave it open, rtmlib's default.
_SIDE = 640
# YOLOX without NMS in the graph; rtmlib's threshold of NMS.
_STRIDES = (8, 16, 32)
_NMS_THR = 0.45
# Boxes with lower scores are not looked at, as in MMDeploy's files.
_SCORE_THR = 0.05

# Boxes, scores and labels of an image.
Detections = Tuple[np.ndarray, np.ndarray, np.ndarray]


def choose_classes(names: Sequence[str], cat_ids: Optional[Sequence[int]],
                   detector: str) -> List[int]:
    """Choose the classes of a detector that are people.

    Args:
        names (Sequence[str]): Names of its classes, empty if unknown.
        cat_ids (Sequence[int], optional): Indices that the user wants.
        detector (str): The detector, for messages.

    Returns:
        list[int]: ``cat_ids``, by default the index of ``person``.

    Raises:
        ValueError: If there is no such class.
    """
    if cat_ids is None and 'person' in names:
        cat_ids = [names.index('person')]
    known = range(len(names) or 10**6)  # any where none is named
    if not cat_ids or any(number not in known for number in cat_ids):
        raise ValueError(
            f'the detector {detector} has the classes '
            f'{dict(enumerate(names))}; choose by number with --det-cat-ids')
    return list(cat_ids)


class DetectorRuntime:
    """Boxes of objects in images, by an exported detector.

    Args:
        file (str): An .onnx or .xml file of ``lgm-pose export``, or an ONNX
            file that rtmlib runs.
        backend (str, optional): See
            :class:`~lgm_pose_plugin.runtime.PoseRuntime`.
        threads (int): Threads the runtime may use. Defaults to 1.
        device (str): See :class:`~lgm_pose_plugin.runtime.PoseRuntime`.
            Defaults to ``'cpu'``.

    Attributes:
        classes (list[str]): Names of the classes by label; empty where the
            file names none.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime, or what it needs for the device, is not
            installed.
        ValueError: If the file cannot be read or is not such a detector.

    Example:
        >>> import cv2
        >>> from lgm_pose_plugin.runtime import DetectorRuntime
        >>> runtime = DetectorRuntime('rtmdet.onnx')  # doctest: +SKIP
        >>> boxes, scores, labels = runtime(
        ...     cv2.imread('people.jpg'))  # doctest: +SKIP
    """

    def __init__(self,
                 file: str,
                 backend: Optional[str] = None,
                 threads: int = 1,
                 device: str = 'cpu'):
        self.file = str(file)
        is_onnx = self.file.lower().endswith('.onnx')
        if is_onnx and osp.isfile(self.file):
            check_onnx(self.file, MAX_BATCH)
        self.session = open_session(self.file, backend, threads, device)
        # rtmlib cuts fractions of a pixel off and divides boxes by the ratio.
        self._is_rtmlib = self.session.metadata is None
        if self.session.metadata is not None:
            self._metadata = read_metadata(self.session.metadata, self.file,
                                           'detection')
        elif is_onnx:
            self._metadata = self._recognise()
        else:
            raise self._unknown()
        self.classes: List[str] = self._metadata['classes']

    def _recognise(self) -> Dict[str, Any]:
        """Tell by the graph what rtmlib's users tell by a class."""
        shape, outputs = self.session.input_shape, self.session.outputs
        if len(shape) != 4 or shape[1] != 3:
            raise self._unknown()
        height, width = (size or _SIDE for size in shape[2:])
        if max(height, width) > MAX_SIDE:
            raise self._unknown()
        size = dict(input_size=[width, height])
        if {'dets', 'labels'} <= set(outputs):
            first = input_operators(self.file)
            # YOLOX puts four pixels into one, by strides or by dimensions.
            if first & {'Slice', 'Reshape'}:
                return dict(_YOLOX, **size)
            if 'Conv' in first:
                return dict(_RTMDET, **size)
        elif len(outputs) == 1:
            found, = outputs.values()
            cells = sum((width // s) * (height // s) for s in _STRIDES)
            if (len(found) == 3 and found[1] in (None, cells)
                    and (found[2] is None or found[2] > 5)):
                return dict(_YOLOX, **size)
        raise self._unknown()

    def _unknown(self) -> ValueError:
        shapes = ', '.join(f'{name} {shape}'
                           for name, shape in self.session.outputs.items())
        return ValueError(
            f'{self.file} is not a person detector that can be run: it takes '
            f'{self.session.input_shape} and computes {shapes[:200]}. Give a '
            'file of `lgm-pose export`, or an ONNX file of RTMDet or YOLOX '
            'that takes (1, 3, H, W) and computes dets and labels or, '
            'YOLOX alone, (1, boxes, 5 + classes)')

    def __call__(self, image: np.ndarray) -> Detections:
        """Find the objects in an image.

        Args:
            image (np.ndarray): BGR image of dtype uint8 and shape
                ``(H, W, 3)``, as ``cv2.imread`` returns it.

        Returns:
            tuple[np.ndarray, np.ndarray, np.ndarray]: Boxes (left, top,
            right, bottom) in image pixels, float32 of shape ``(M, 4)``; their
            scores, float32 of shape ``(M, )``; and their labels, int64 of
            shape ``(M, )``.

        Raises:
            ValueError: If the image is not as described, or the network
                computes something else than boxes.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[np.ndarray]) -> List[Detections]:
        """Find the objects in several images, in one call of the network.

        A file with a fixed batch is called as often as that needs.

        Args:
            images (Sequence[np.ndarray]): See :meth:`__call__`.

        Returns:
            list[tuple]: What :meth:`__call__` returns, of each image.

        Raises:
            ValueError: See :meth:`__call__`.
        """
        size = self._metadata['input_size']
        canvases, ratios = [], []
        for image in images:
            check_image(image)
            canvas, factors = letterbox(image, size,
                                        self._metadata['pad_value'],
                                        0 if self._is_rtmlib else 0.5)
            if self._is_rtmlib:
                height, width = image.shape[:2]
                factors = (min(size[0] / width, size[1] / height), ) * 2
            canvases.append(canvas)
            ratios.append(np.array(factors * 2, np.float32))
        batch = self.session.batch or len(images)
        results: List[Detections] = []
        for start in range(0, len(images), batch):
            inputs = np.stack(canvases[start:start + batch])
            # A fixed batch is filled up with the last image.
            inputs = np.concatenate(
                [inputs,
                 np.repeat(inputs[-1:], -len(inputs) % batch, 0)])
            if not self._metadata['normalize']:
                inputs = normalize(inputs, self._metadata)
            outputs = self.session.run(inputs)
            for i, ratio in enumerate(ratios[start:start + batch]):
                boxes, scores, labels = self._read(outputs, i)
                boxes = boxes / ratio
                if not (np.isfinite(boxes).all()
                        and np.isfinite(scores).all()):
                    raise ValueError(
                        f'{self.file} computes boxes that are not finite; its '
                        'weights are broken')
                results.append((boxes, scores, labels.astype(np.int64)))
        return results

    def _read(self, outputs: Dict[str, np.ndarray], i: int) -> Detections:
        """Read boxes, scores and labels of an image of a batch."""
        try:
            if len(self.session.outputs) == 1:
                output, = outputs.values()
                return decode_yolox(output[i], self._metadata['input_size'])
            boxes, labels = outputs['dets'][i], outputs['labels'][i]
            boxes, scores = boxes[:, :4], boxes[:, 4]
            # Rows that are left over have no score.
            found = (scores > 0) & (labels >= 0)
            return boxes[found], scores[found], labels[found]
        except (IndexError, KeyError, ValueError) as error:
            shapes = {name: one.shape for name, one in outputs.items()}
            raise ValueError(f'{self.file} computes {shapes} in place of dets '
                             '(1, M, 5) and labels (1, M)') from error


def decode_yolox(output: np.ndarray, size: List[int]) -> Detections:
    """Decode what YOLOX computes without NMS in the graph, as rtmlib.

    Args:
        output (np.ndarray): Per cell of the strides 8, 16 and 32 the centre
            and the logarithm of the size in cells, the objectness and the
            classes' scores, of shape ``(P, 5 + classes)``.
        size (list[int]): Width and height of the input.

    Returns:
        tuple[np.ndarray, np.ndarray, np.ndarray]: Boxes (left, top, right,
        bottom) in pixels of the input, of shape ``(M, 4)``, their scores and
        labels, after NMS in each class.
    """
    cells = []
    for stride in _STRIDES:
        x, y = np.meshgrid(
            np.arange(size[0] // stride), np.arange(size[1] // stride))
        strides = np.full(x.size, stride)
        cells.append(np.column_stack([x.ravel(), y.ravel(), strides]))
    grid = np.concatenate(cells).astype(np.float32)  # (P, 3)
    scores = output[:, 4:5] * output[:, 5:]  # (P, classes)
    rows, labels = np.nonzero(scores > _SCORE_THR)
    scores, output, grid = scores[rows, labels], output[rows], grid[rows]
    centers = (output[:, :2] + grid[:, :2]) * grid[:, 2:]
    halves = np.exp(output[:, 2:4]) * grid[:, 2:] / 2
    boxes = np.hstack([centers - halves, centers + halves])
    kept = np.concatenate([np.empty(0, np.int64)] + [
        of_class[nms(boxes[of_class], scores[of_class], _NMS_THR)]
        for of_class in (np.flatnonzero(labels == i)
                         for i in np.unique(labels))
    ])
    return boxes[kept], scores[kept], labels[kept]


def nms(boxes: np.ndarray, scores: np.ndarray, iou_thr: float) -> np.ndarray:
    """Suppress boxes that overlap one with a higher score, as MMPose.

    Args:
        boxes (np.ndarray): Boxes (left, top, right, bottom) of shape
            ``(M, 4)``. As in MMPose and rtmlib, their last pixel counts.
        scores (np.ndarray): Their scores, of shape ``(M, )``.
        iou_thr (float): Intersection over union above which boxes are
            suppressed.

    Returns:
        np.ndarray: Indices of the boxes that are kept; the highest score is
        first.
    """
    low, high = boxes[:, :2], boxes[:, 2:] + 1
    areas = (high - low).prod(1)
    order = scores.argsort()[::-1]
    kept = []
    while order.size:
        first, order = order[0], order[1:]
        kept.append(first)
        sides = (np.minimum(high[first], high[order]) -
                 np.maximum(low[first], low[order])).clip(0)
        shared = sides.prod(1)
        iou = shared / (areas[first] + areas[order] - shared)
        order = order[iou <= iou_thr]
    return np.array(kept, np.int64)
