"""Boxes of people in images, by a detector of MMDetection."""
import os
import os.path as osp
import textwrap
import warnings
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.datasets import CocoDataset
from mmpose.evaluation.functional import nms
from mmpose.utils import adapt_mmdet_pipeline
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from lgm_pose_plugin.checkpoint.loading import load_checkpoint
from lgm_pose_plugin.datasets.coco_format import person_category
from lgm_pose_plugin.models.builder import load_config
from lgm_pose_plugin.utils.errors import explain_errors
from lgm_pose_plugin.utils.progress import Progress
from .coco_files import PERSON, Boxes, ImageIds
from .sources import read_image

Entries = List[Dict[str, Any]]  # of COCO's files


def load_detector_config(name: str) -> Config:
    """Load a config of MMDetection.

    Args:
        name (str): A path, or ``mmdet::`` and a path inside MMDetection's
            configs, as ``mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py``.

    Returns:
        Config: The config.

    Raises:
        ValueError: If there is no such config, it cannot be read, or it has
            no detector.
    """
    cfg = load_config(name)
    if 'test_dataloader' not in cfg or 'backbone' not in cfg.get('model', {}):
        raise ValueError(f'{name} is not a config of an MMDetection detector')
    return cfg


class PersonDetector:
    """Finds people with a detector of MMDetection.

    Args:
        config (str): See :func:`load_detector_config`.
        checkpoint (str): Path or URL of its weights.
        cat_ids (Sequence[int], optional): Indices of the detector's classes
            to take. Defaults to that of the class ``person``.
        score_thr (float): Boxes with at most this score are left out.
            Defaults to 0.3, as in MMPose's inferencers.
        nms_thr (float, optional): Of two boxes that overlap by more (IoU) the
            one with the higher score is kept; ``None`` leaves it to the
            detector. Defaults to 0.3, as in MMPose's inferencers.
        device (str): As ``'cuda:0'``. Defaults to ``'cpu'``.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the config or checkpoint does not fit, or the detector
            has no class ``person``.
    """

    def __init__(self,
                 config: str,
                 checkpoint: str,
                 cat_ids: Optional[Sequence[int]] = None,
                 score_thr: float = 0.3,
                 nms_thr: Optional[float] = 0.3,
                 device: str = 'cpu'):
        self.score_thr = score_thr
        self.nms_thr = nms_thr
        cfg = load_detector_config(config)
        # It warns of COCO's classes, also where that is to be ignored, and
        # leaves its scope to all that follows.
        scope = cfg.get('default_scope', 'mmdet')
        with warnings.catch_warnings(
                record=True), DefaultScope.overwrite_default_scope(
                    scope), explain_errors(
                        f'the detector of {cfg.filename} cannot be built'):
            self.model = init_detector(cfg, None, 'random', device)
        meta = _load_weights(self.model, checkpoint, cfg.filename)
        names = _class_names(cfg, meta)
        if cat_ids is None and 'person' in names:
            cat_ids = [names.index('person')]
        known = range(len(names) or 10**6)  # any where none is named
        if not cat_ids or any(number not in known for number in cat_ids):
            raise ValueError(
                f'the detector of {cfg.filename} has the classes '
                f'{dict(enumerate(names))}; choose by number with '
                '--det-cat-ids')
        self.cat_ids = list(cat_ids)
        # With it, MMPose's default scope does.
        self.model.cfg = adapt_mmdet_pipeline(cfg)

    def __call__(self, image: np.ndarray) -> Boxes:
        """Find the people in an image.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.

        Returns:
            Boxes: Their boxes; the highest score is first.
        """
        result = inference_detector(self.model, image)
        found = result.pred_instances.cpu().numpy()
        boxes = np.column_stack([found.bboxes, found.scores])
        boxes = boxes[np.isin(found.labels, self.cat_ids)
                      & (found.scores > self.score_thr)]
        # Of less than a pixel nothing can be seen.
        boxes = boxes[(boxes[:, 2:4] - boxes[:, :2] >= 1).all(1)]
        if self.nms_thr is not None:
            boxes = boxes[nms(boxes, self.nms_thr)]
        boxes = boxes[np.argsort(-boxes[:, 4], kind='stable')]
        boxes = boxes.astype(np.float32)
        return Boxes(boxes[:, :4], boxes[:, 4])


def _load_weights(model: nn.Module, checkpoint: str,
                  config: str) -> Dict[str, Any]:
    """Load a checkpoint, which has to fill the model; return its ``meta``."""
    loaded = load_checkpoint(checkpoint)
    weights = loaded['state_dict']
    consume_prefix_in_state_dict_if_present(weights, 'module.')
    try:
        missing = model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} is not a checkpoint of {config}: ' +
                         textwrap.shorten(str(error), 400)) from error
    missing = [key for key in missing if 'num_batches_tracked' not in key]
    if missing:
        raise ValueError(
            f'{checkpoint} is not a checkpoint of {config}: it has no '
            f'{missing[0]}, nor {len(missing) - 1} others')
    return dict(loaded['meta'])


def _class_names(cfg: Config, meta: Dict[str, Any]) -> List[str]:
    """Names of a detector's classes, from its checkpoint or config."""
    dataset = cfg.test_dataloader.dataset
    known = getattr(DATASETS.get(dataset.type), 'METAINFO', {})
    told: Any
    for told in (meta.get('dataset_meta'), meta, dataset.get('metainfo'),
                 known):
        # As mmdet 2 and 3 wrote it; it may be from anywhere.
        for key in ('classes', 'CLASSES') if isinstance(told, dict) else ():
            names = told.get(key)
            if names and isinstance(names, (list, str, tuple)):
                return [names] if isinstance(names, str) else list(names)
    return []


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
        # A detector's own are of an image it cannot resize, or of the memory.
        except (MemoryError, OSError, RuntimeError, ValueError,
                cv2.error) as error:
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
    for image in images:
        name = osp.relpath(image['file_name'], folder)
        image['file_name'] = name.replace(os.sep, '/')
    categories = [person_category(CocoDataset.METAINFO)]
    return dict(images=images, annotations=[], categories=categories)
