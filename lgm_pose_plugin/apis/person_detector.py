"""Boxes of people in images, by an exported detector or MMDetection.

Itself needs neither torch nor MMDetection; a config does.
"""
import os
import os.path as osp
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from lgm_pose_plugin.runtime.detector_runtime import (Detections,
                                                      DetectorRuntime,
                                                      choose_classes, nms)
from lgm_pose_plugin.runtime.session import BACKENDS
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.progress import Progress
from .coco_files import PERSON, Boxes, ImageIds
from .detector_zoo import export_once
from .sources import ERRORS, read_image

Entries = List[Dict[str, Any]]  # of COCO's files
# What finds objects: image -> boxes, scores, labels, as DetectorRuntime.
FindObjects = Callable[[np.ndarray], Detections]


def is_file(detector: str) -> bool:
    """Whether a detector is named by a file that needs no MMDetection.

    Args:
        detector (str): A file or a config.

    Returns:
        bool: Whether its name ends as that of an exported file.
    """
    return detector.lower().endswith(tuple(BACKENDS))


class PersonDetector:
    """Finds people with an exported detector or one of MMDetection.

    Args:
        detector (str): A file that
            :class:`~lgm_pose_plugin.runtime.DetectorRuntime` runs; a model
            of MMDetection by name or ``'auto'``, see
            :func:`~.detector_zoo.export_once`; or with a checkpoint a config,
            see :class:`~lgm_pose_plugin.models.detector_model.DetectorModel`.
        checkpoint (str, optional): Path or URL of the config's weights.
        cat_ids (Sequence[int], optional): Indices of the detector's classes
            to take. Defaults to that of the class ``person``, and to the
            first class where the detector names none.
        score_thr (float): Boxes with at most this score are left out.
            Defaults to 0.3, as in MMPose's inferencers.
        nms_thr (float, optional): Of two boxes that overlap by more (IoU) the
            one with the higher score is kept; ``None`` leaves it to the
            detector. Defaults to 0.3, as in MMPose's inferencers.
        device (str, optional): What computes, as ``'cuda:0'``; for files see
            :class:`~lgm_pose_plugin.runtime.PoseRuntime`. Defaults to the
            CPU for files, to a GPU if there is one for configs.
        threads (int): Threads that run a file. Defaults to 1.

    Attributes:
        cat_ids (list[int]): Indices of the classes that are taken.

    Raises:
        FileNotFoundError: If there is no such file or checkpoint, or it
            cannot be downloaded.
        ImportError: If a package that it needs is missing.
        ValueError: If the file is not such a detector, the config or
            checkpoint does not fit, the detector has no class ``person``, or
            the device cannot be used.
    """

    def __init__(self,
                 detector: str,
                 checkpoint: Optional[str] = None,
                 cat_ids: Optional[Sequence[int]] = None,
                 score_thr: float = 0.3,
                 nms_thr: Optional[float] = 0.3,
                 device: Optional[str] = None,
                 threads: int = 1):
        self.score_thr = score_thr
        self.nms_thr = nms_thr
        self._detect: FindObjects
        if checkpoint:
            if is_file(detector):
                raise ValueError(
                    f'a checkpoint is for a config, not for {detector}')
            set_up_mmpose()
            from lgm_pose_plugin.models.detector_model import DetectorModel
            model = DetectorModel(detector, checkpoint, device)
            names, self._detect = model.classes, model
        else:
            if not is_file(detector):
                detector = export_once(detector)
            runtime = DetectorRuntime(
                detector, threads=threads, device=device or 'cpu')
            names, self._detect = runtime.classes, runtime
            if cat_ids is None and not names:
                cat_ids = [0]  # as in rtmlib's files
        self.cat_ids = choose_classes(names, cat_ids, detector)

    def __call__(self, image: np.ndarray) -> Boxes:
        """Find the people in an image.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.

        Returns:
            Boxes: Their boxes; the highest score is first.
        """
        found, scores, labels = self._detect(image)
        boxes = np.column_stack([found, scores])
        boxes = boxes[np.isin(labels, self.cat_ids)
                      & (scores > self.score_thr)]
        # Of less than a pixel nothing can be seen.
        boxes = boxes[(boxes[:, 2:4] - boxes[:, :2] >= 1).all(1)]
        if self.nms_thr is not None:
            boxes = boxes[nms(boxes[:, :4], boxes[:, 4], self.nms_thr)]
        boxes = boxes[np.argsort(-boxes[:, 4], kind='stable')]
        boxes = boxes.astype(np.float32)
        return Boxes(boxes[:, :4], boxes[:, 4])


def detection_results(image_id: int, people: Boxes) -> Entries:
    """Make COCO's detection results of an image.

    Args:
        image_id (int): The image.
        people (Boxes): Who is in it.

    Returns:
        list[dict]: ``image_id``, ``category_id``, ``bbox`` (left, top, width,
        height, to a hundredth of a pixel) and ``score``, as data sets of
        MMPose read them as ``bbox_file``.
    """
    boxes = people.boxes.astype(float)
    boxes[:, 2:] -= boxes[:, :2]
    return [
        dict(image_id=image_id, category_id=PERSON, bbox=box, score=score)
        for box, score in zip(
            boxes.round(2).tolist(),
            people.scores.astype(float).round(5).tolist())
    ]


def detect_images(detector: PersonDetector, paths: Sequence[str],
                  ids: ImageIds,
                  progress: Progress) -> Tuple[Entries, Entries]:
    """Find the people in images; an image that fails is reported.

    Args:
        detector (PersonDetector): The detector.
        paths (Sequence[str]): The images.
        ids (ImageIds): Their ids.
        progress (Progress): Counts, and tells when to stop.

    Returns:
        tuple[list[dict], list[dict]]: What :func:`detection_results` makes of
        all images; and the images that did not fail, with ``id``,
        ``file_name`` (the path), ``width`` and ``height``.
    """
    boxes: Entries = []
    images: Entries = []
    for path in paths:
        if progress.stopped is not None:
            break
        try:
            number = ids.find(path)
            image = read_image(path)
            found = detector(image)
        except ERRORS as error:
            progress.fail(f'{path}: {error}')
            continue
        boxes += detection_results(number, found)
        height, width = image.shape[:2]
        images.append(
            dict(id=number, file_name=path, width=width, height=height))
        progress.advance()
    return boxes, images


def image_info(images: Entries, folder: str) -> Dict[str, Any]:
    """Make an annotation file that only tells the images.

    Args:
        images (list[dict]): See :func:`detect_images`; changed in place.
        folder (str): The folder that file names are relative to.

    Returns:
        dict: ``images``, ``annotations`` (none) and ``categories``.
    """
    from mmpose.datasets import CocoDataset

    from lgm_pose_plugin.datasets.coco_format import person_category
    for image in images:
        name = osp.relpath(image['file_name'], folder)
        image['file_name'] = name.replace(os.sep, '/')
    categories = [person_category(CocoDataset.METAINFO)]
    return dict(images=images, annotations=[], categories=categories)
