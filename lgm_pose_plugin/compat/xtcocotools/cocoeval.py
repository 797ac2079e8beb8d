"""COCO's metrics for boxes, masks and key points."""
import contextlib
import io
from collections import defaultdict
from typing import Any, Dict, List, Optional

import numpy as np
import pycocotools.cocoeval
from pycocotools.coco import COCO

__all__ = ['COCOeval']

# The fields of the key points of COCO-WholeBody's parts.
_FIELDS = {
    'wholebody':
    ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts'),
    'foot': ('foot_kpts', ),
    'face': ('face_kpts', ),
    'lefthand': ('lefthand_kpts', ),
    'righthand': ('righthand_kpts', ),
}


class COCOeval(pycocotools.cocoeval.COCOeval):
    """pycocotools' class with the arguments and results of xtcocotools'.

    ``stats`` has the ten numbers of COCO's key points for all types of key
    points but ``keypoints_crowd``: AP, AP50, AP75, AR, AR50, AR75, and the AP
    of images with CrowdPose's crowd index below 0.2, below 0.8 and above.

    Args:
        cocoGt (COCO): Annotations.
        cocoDt (COCO): Results.
        iouType (str): ``bbox``, ``segm``, ``keypoints``, ``keypoints_crowd``,
            or ``keypoints_`` with ``body`` or a part of COCO-WholeBody:
            ``foot``, ``face``, ``lefthand``, ``righthand``, ``wholebody``.
        sigmas (np.ndarray, optional): OKS sigmas of the key points, of shape
            (K, ). By default those of COCO's 17.
        use_area (bool): Whether annotations have an ``area``. Else 0.53 of
            the box's area stands for it. Defaults to True.
    """

    def __init__(self,
                 cocoGt: Optional[COCO] = None,
                 cocoDt: Optional[COCO] = None,
                 iouType: str = 'keypoints',
                 sigmas: Optional[np.ndarray] = None,
                 use_area: bool = True):
        base, _, self.part = iouType.partition('_')
        super().__init__(cocoGt, cocoDt, base)
        if sigmas is not None:
            self.params.kpt_oks_sigmas = sigmas
        self.use_area = use_area

    def _keypoints(self, annotation: Dict[str, Any]) -> List[float]:
        fields = _FIELDS.get(self.part, ('keypoints', ))
        return [value for field in fields for value in annotation[field]]

    def _annotation(self, gt: Dict[str, Any]) -> Dict[str, Any]:
        """Make a pycocotools' annotation of a xtcocotools' one."""
        # To pycocotools, what matches the annotation 0 matches none.
        gt = dict(gt, id=gt['id'] or -1)
        if not self.use_area or 'area' not in gt:
            gt['area'] = gt['bbox'][2] * gt['bbox'][3] * 0.53
        if self.params.iouType == 'keypoints':
            gt['keypoints'] = self._keypoints(gt)
            # CrowdPose counts the visible ones only.
            number = gt['num_keypoints'] if self.part == 'crowd' else sum(
                flag > 0 for flag in gt['keypoints'][2::3])
            gt['ignore'] = gt['ignore'] or number == 0
        return gt

    def _result(self, dt: Dict[str, Any]) -> Dict[str, Any]:
        if self.params.iouType != 'keypoints':
            return dt
        score = dt.get(f'{self.part}_score', dt['score'])
        return dict(dt, keypoints=self._keypoints(dt), score=score)

    def _prepare(self) -> None:
        """Select annotations and results."""
        params = self.params
        iou_type = params.iouType
        if iou_type == 'keypoints':
            params.iouType = 'bbox'  # which does not need num_keypoints
        super()._prepare()
        params.iouType = iou_type
        for annotations in self._gts.values():
            annotations[:] = map(self._annotation, annotations)
        for results in self._dts.values():
            results[:] = map(self._result, results)
            if iou_type == 'keypoints':
                results[:] = [
                    x for x in results
                    if any(score > 0 for score in x['keypoints'][2::3])
                ]

    def summarize(self) -> None:
        """Compute ``stats`` and print them."""
        super().summarize()
        if self.part != 'crowd':
            return
        kept = [0, 1, 2, 5, 6, 7]
        self.stats: np.ndarray = np.append(self.stats[kept],
                                           self._crowd_precision())
        for name, value in zip(('easy', 'medium', 'hard'), self.stats[6:]):
            print(f' Average Precision  (AP) @[ type={name:>6s} ] = '
                  f'{value:0.3f}')

    def _crowd_precision(self) -> List[float]:
        """Compute the AP of images with few, some and many crossing people."""
        images = defaultdict(list)
        for image in self.cocoGt.dataset['images']:
            index = image['crowdIndex']
            level = 0 if index < 0.2 else 1 if index < 0.8 else 2
            images[level].append(image['id'])
        found = []
        for level in range(3):
            part = COCOeval(self.cocoGt, self.cocoDt, 'keypoints_crowd',
                            self.params.kpt_oks_sigmas, self.use_area)
            part.params.imgIds = images[level]
            with contextlib.redirect_stdout(io.StringIO()):
                part.evaluate()
                part.accumulate()
            precision = part.eval['precision'][:, :, :, 0, :]
            found.append(round(np.mean(precision), 4))
        return found
