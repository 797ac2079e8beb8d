"""Export person detectors of MMDetection, and check what was written.

The graph takes letterboxed images and returns boxes after NMS; everything
else a user of the file needs is in its metadata, see docs/export.md.
"""
import json
import os
import os.path as osp
import tempfile
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import matplotlib
import numpy as np
import torch
from mmdet.models.dense_heads import RTMDetHead, RTMDetInsHead, YOLOXHead
from mmdet.structures.bbox import distance2bbox
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.datasets.samples import list_pictures
from lgm_pose_plugin.datasets.transforms.loading import LoadCheckedImage
from lgm_pose_plugin.models.detector_model import DetectorModel
from lgm_pose_plugin.runtime.detector_runtime import (Detections,
                                                      DetectorRuntime,
                                                      choose_classes)
from lgm_pose_plugin.utils.files import write_json
from lgm_pose_plugin.utils.machine import describe_machine
from .formats import FORMATS, choose_batch
from .graph import ExportError, describe_input, preprocess, test_transforms
from .onnx_file import write_onnx
from .openvino_file import read_openvino, save_openvino

OUTPUTS = ('dets', 'labels')  # as in MMDeploy's files
# Of heads that do not limit the boxes of an image; RTMDet's.
MAX_BOXES = 300
# The input's sides are multiples of the largest stride.
STRIDE = 32
BOX_TOLERANCE = 0.1  # pixels of the input
SCORE_TOLERANCE = 1e-3
# Rounding may decide which of two boxes NMS keeps.
MAX_OTHER = 0.01  # of all boxes


class _NonMaxSuppression(torch.autograd.Function):
    """ONNX's NonMaxSuppression, which torch has no operator for."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, max_boxes: int,
                iou_thr: float, score_thr: float) -> Tensor:
        """Return indices of the right type; a tracer looks at nothing else."""
        return boxes.new_zeros((1, 3), dtype=torch.int64)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, max_boxes: int,
                 iou_thr: float, score_thr: float) -> Any:
        """Write the operator."""
        limits = [
            g.op('Constant', value_t=torch.tensor([value]))
            for value in (max_boxes, iou_thr, score_thr)
        ]
        return g.op('NonMaxSuppression', boxes, scores, *limits)


class ExportedDetector(nn.Module):
    """An RTMDet or YOLOX as its exported graph computes it.

    Args:
        model (nn.Module): The detector, in eval mode.
        cat_ids (Sequence[int]): Indices of the C classes to find.
        size (int): Width and height of the input.
        normalize (bool): Whether ``forward`` takes images as OpenCV reads
            them and does what the data preprocessor does.

    Attributes:
        max_boxes (int): Boxes of an image at most.

    Raises:
        ValueError: If the detector has another head or another NMS.
    """

    def __init__(self, model: nn.Module, cat_ids: Sequence[int], size: int,
                 normalize: bool) -> None:
        super().__init__()
        head: Any = model.bbox_head
        self.model: Any = model
        self.cat_ids, self.size, self.normalize = (list(cat_ids), size,
                                                   normalize)
        self.is_yolox = isinstance(head, YOLOXHead)
        known = self.is_yolox or (isinstance(head, RTMDetHead)
                                  and not isinstance(head, RTMDetInsHead))
        nms: Any = head.test_cfg.get('nms', {}) if known else {}
        if nms.get('type') != 'nms' or nms.get('class_agnostic'):
            raise ValueError(
                f'a detector with {type(head).__name__} and the NMS '
                f'{dict(nms)} cannot be exported; RTMDet and YOLOX with the '
                'NMS of their configs can')
        self.nms_thr = float(nms.iou_threshold)
        self.score_thr = float(head.test_cfg.score_thr)
        sizes = [(size // stride[1], size // stride[0])
                 for stride in head.prior_generator.strides]
        priors = torch.cat(
            head.prior_generator.grid_priors(
                sizes, device='cpu', with_stride=True))
        self.priors: Tensor
        self.register_buffer('priors', priors, persistent=False)  # (P, 4)
        self.max_boxes = min(
            head.test_cfg.get('max_per_img', MAX_BOXES),
            len(priors) * len(self.cat_ids))

    def forward(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        """Find objects.

        Args:
            images (Tensor): Letterboxed BGR images, uint8 of shape
                ``(N, size, size, 3)``, or without ``normalize`` float32 of
                shape ``(N, 3, size, size)``.

        Returns:
            tuple[Tensor, Tensor]: Boxes and scores (left, top, right, bottom,
            score) in pixels of the input, of shape ``(N, max_boxes, 5)``, the
            highest score first; and labels, indices into ``cat_ids``, of
            shape ``(N, max_boxes)``. Rows that are left over have the score
            0 and the label -1.
        """
        if self.normalize:
            images = preprocess(self.model.data_preprocessor, images)
        outputs = self.model.bbox_head(self.model.extract_feat(images))
        # (N, P, channels) each: scores, boxes and, of YOLOX, objectness.
        classes, boxes, *objectness = (
            torch.cat([level.flatten(2)
                       for level in levels], 2).transpose(1, 2)
            for levels in outputs)
        classes = classes.sigmoid()
        scores = classes[..., self.cat_ids]  # (N, P, C)
        if self.is_yolox:
            boxes = self.model.bbox_head._bbox_decode(self.priors, boxes)
            # MMDetection takes the best class of each box alone.
            best = scores == classes.max(-1, keepdim=True).values
            scores = scores * best * objectness[0].sigmoid()
        else:
            boxes = distance2bbox(self.priors[:, :2], boxes)
            boxes = boxes.clamp(0, self.size)
            # Those without area, whose IoU is not defined.
            area = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdim=True)
            scores = scores * area
        return self._select(boxes, scores.transpose(1, 2))

    def _select(self, boxes: Tensor, scores: Tensor) -> Tuple[Tensor, Tensor]:
        """NMS on boxes (N, P, 4) and scores (N, C, P)."""
        apply: Any = _NonMaxSuppression.apply
        image, label, prior = apply(boxes, scores, self.max_boxes,
                                    self.nms_thr, self.score_thr).unbind(1)
        kept = torch.zeros_like(scores)
        kept[image, label, prior] = 1
        scores, order = (scores * kept).flatten(1).topk(self.max_boxes)
        count = len(self.priors)
        prior = order % count
        label = torch.div(order, count, rounding_mode='floor')
        boxes = boxes.gather(1, prior[..., None].expand(-1, -1, 4))
        labels = torch.where(scores > 0, label, torch.full_like(label, -1))
        return torch.cat([boxes, scores[..., None]], 2), labels


def describe_letterbox(cfg: Config) -> Dict[str, Any]:
    """Find how a detector's test pipeline makes images fit.

    Args:
        cfg (Config): Config of the detector.

    Returns:
        dict: ``input_size`` (width and height) and ``pad_value``.

    Raises:
        ValueError: If it does not resize images to fit a square of which the
            rest is padded.
    """
    steps = test_transforms(cfg)
    resize, pad = steps.get('Resize', {}), steps.get('Pad', {})
    size = list(resize.get('scale') or [0])
    padded = size if pad.get('pad_to_square') else list(pad.get('size') or [])
    value = pad.get('pad_val', {})
    value = value.get('img', 0) if isinstance(value, dict) else value
    value = np.broadcast_to(value, 3).astype(int).tolist()
    if not (resize.get('keep_ratio') and len(set(size)) == 1 and padded == size
            and size[0] > 0 and size[0] % STRIDE == 0):
        raise ValueError(
            f'{cfg.filename} cannot be exported: its test pipeline has to '
            f'resize images to a square (a multiple of {STRIDE}) with '
            'keep_ratio and to pad the rest')
    return dict(input_size=size, pad_value=value)


def check_boxes(expected: Sequence[Detections], found: Sequence[Detections],
                ratios: Sequence[float], max_boxes: int) -> Dict[str, Any]:
    """Check a file's boxes against MMDetection's.

    Args:
        expected (Sequence[Detections]): MMDetection's of each image.
        found (Sequence[Detections]): The file's.
        ratios (Sequence[float]): Pixels of the input by those of the image.
        max_boxes (int): Boxes of an image that the file returns at most.

    Returns:
        dict: The numbers of boxes that both have and that one alone has, and
        the largest differences of the former.

    Raises:
        ExportError: If more than ``MAX_OTHER`` of the boxes are not the
            other's, or there are none.
    """
    boxes = scores = 0.
    compared = other = 0
    for (box, score, label), (box2, score2,
                              label2), ratio in zip(expected, found, ratios):
        distance = np.abs(box[:, None] - box2).max(2) * ratio
        change = np.abs(score[:, None] - score2)
        same = ((distance <= BOX_TOLERANCE) & (change <= SCORE_TOLERANCE)
                & (label[:, None] == label2))
        boxes = max(boxes, distance[same].max(initial=0))
        scores = max(scores, change[same].max(initial=0))
        # A file that is full has cut boxes of lower scores off.
        lowest = score2.min() if len(score2) >= max_boxes else 0
        seen = score > lowest + SCORE_TOLERANCE
        compared += int(same.any(0).sum())
        other += int((~same.any(0)).sum() + (~same.any(1) & seen).sum())
    if not compared or other > MAX_OTHER * (compared + other):
        raise ExportError(
            f"{compared} of the file's boxes are MMDetection's, {other} are "
            'not' if compared or other else
            'no box could be compared; give pictures of people by --images')
    return dict(
        compared_boxes=compared,
        other_boxes=other,
        boxes_max_difference_px=float(boxes),
        boxes_tolerance_px=BOX_TOLERANCE,
        scores_max_difference=float(scores),
        scores_tolerance=SCORE_TOLERANCE)


def _find_pictures(images: Sequence[str], samples: int) -> List[np.ndarray]:
    """Read the pictures of the check, or render some."""
    rendered: List[np.ndarray] = []
    if images:
        files = list_pictures(images)[:samples]
    else:
        rendered = [
            render_image(np.random.default_rng([i]))[0] for i in range(samples)
        ]
        # A photo of a person, which some distributions of Matplotlib leave
        # out.
        photo = osp.join(matplotlib.get_data_path(), 'sample_data',
                         'grace_hopper.jpg')
        files = list(filter(osp.isfile, [photo]))
    load = LoadCheckedImage()
    return rendered + [load(dict(img_path=file))['img'] for file in files]


def _check_file(file: str, detector: DetectorModel, cat_ids: List[int],
                size: int, max_boxes: int,
                images: Sequence[np.ndarray]) -> Dict[str, Any]:
    """Run a file and MMDetection on images, and compare."""
    # They count boxes of all classes, the file those of some.
    detector.model.bbox_head.test_cfg.update(nms_pre=10**6, max_per_img=10**6)
    expected = []
    for image in images:
        boxes, scores, labels = detector(image)
        taken = np.isin(labels, cat_ids)
        labels = np.array([cat_ids.index(i) for i in labels[taken]], np.int64)
        expected.append((boxes[taken], scores[taken], labels))
    runtime = DetectorRuntime(file)
    # Batches of one and of two.
    found = [runtime(images[0])]
    for start in range(1, len(images), 2):
        found += runtime.detect_batch(images[start:start + 2])
    ratios = [size / max(image.shape[:2]) for image in images]
    return check_boxes(expected, found, ratios, max_boxes)


def export_detector(
        config: str,
        checkpoint: Optional[str],
        out: str,
        *,
        format: str = 'onnx',
        batch: Optional[Union[int, str]] = None,
        normalize: bool = True,
        images: Sequence[str] = (),
        samples: int = 16,
        cat_ids: Optional[Sequence[int]] = None,
        cfg_options: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """Export an RTMDet or YOLOX and check the file against MMDetection.

    Writes ``out`` (and for OpenVINO the .bin beside it) and the report
    ``out + '.report.json'`` if the check succeeds, else nothing.

    Args:
        config (str): Config of MMDetection, see
            :func:`~lgm_pose_plugin.models.detector_model.load_detector_config`.
        checkpoint (str, optional): Path or URL of the weights, ``None`` for
            random ones.
        out (str): The file to write, ending in .onnx or .xml.
        format (str): ``'onnx'`` or ``'openvino'``. Defaults to ``'onnx'``.
        batch (int | str, optional): The batch size, or ``'dynamic'`` for any.
            Defaults to ``'dynamic'``.
        normalize (bool): Whether the graph takes uint8 BGR images, else
            normalized float32 ones. Defaults to ``True``.
        images (Sequence[str]): Pictures or folders for the check. Without
            them it renders people, and takes a photo of Matplotlib's.
        samples (int): Pictures the check takes at most. Defaults to 16.
        cat_ids (Sequence[int], optional): Indices of the classes to find.
            Defaults to that of ``person``.
        cfg_options (dict, optional): Options of the config.

    Returns:
        dict: The report.

    Raises:
        ExportError: If the file does not compute what MMDetection computes.
        FileNotFoundError: If a file or folder does not exist.
        ImportError: If a package is missing.
        ValueError: If anything else is not as described.
    """
    if format not in ('onnx', 'openvino'):
        raise ValueError('detectors are exported to onnx and openvino, not to '
                         f'{format}')
    batch = choose_batch(out, format, batch)
    if samples < 1:
        raise ValueError(f'samples must be at least 1, got {samples}')
    made_with = describe_machine([
        'torch', 'mmdet', 'mmengine', 'numpy', 'onnx',
        *FORMATS[format].packages
    ])
    detector = DetectorModel(config, checkpoint, 'cpu', cfg_options)
    cat_ids = choose_classes(detector.classes, cat_ids, config)
    cfg = detector.model.cfg
    letterbox = describe_letterbox(cfg)
    size = letterbox['input_size'][0]
    graph = ExportedDetector(
        revert_sync_batchnorm(detector.model).eval(), cat_ids, size, normalize)
    metadata = json.loads(
        json.dumps(
            dict(
                describe_input(cfg, detector.model, normalize),
                task='detection',
                **letterbox,
                classes=[
                    detector.classes[i] if detector.classes else str(i)
                    for i in cat_ids
                ],
                score_thr=graph.score_thr,
                nms_thr=graph.nms_thr,
                max_boxes=graph.max_boxes)))
    pictures = _find_pictures(images, samples)
    number = batch if isinstance(batch, int) else 2
    shape = (size, size, 3) if normalize else (3, size, size)
    example = torch.zeros((number, *shape),
                          dtype=torch.uint8 if normalize else torch.float32)
    kind = FORMATS[format]
    with tempfile.TemporaryDirectory(
            dir=osp.dirname(out) or os.curdir, prefix='.export-') as folder:
        full = onnx = osp.join(folder, 'full.onnx')
        write_onnx(graph, example, onnx, OUTPUTS, batch == 'dynamic')
        if kind.suffix != '.onnx':
            full = osp.join(folder, 'full' + kind.suffix)
            save_openvino(read_openvino(onnx), full)
        final = osp.join(folder, 'final' + kind.suffix)
        kind.finish(full, final, OUTPUTS, metadata)
        report: Dict[str, Any] = dict(
            file=osp.basename(out),
            format=format,
            batch=batch,
            checkpoint=checkpoint and osp.basename(checkpoint),
            metadata=metadata,
            check=dict(
                images='images' if images else 'rendered',
                number_of_images=len(pictures),
                **_check_file(final, detector, cat_ids, size, graph.max_boxes,
                              pictures)),
            environment=made_with,
            bytes=kind.size(final))
        write_json(out + '.report.json', report, indent=2)
        kind.move(final, out)
    return report
