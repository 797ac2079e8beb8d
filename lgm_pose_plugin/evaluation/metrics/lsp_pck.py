"""PCK of Leeds Sports Pose."""
from typing import Any, Dict, Optional

import numpy as np
from mmengine.logging import MMLogger
from mmpose.evaluation.functional import keypoint_pck_accuracy
from mmpose.evaluation.metrics import PCKAccuracy
from mmpose.registry import METRICS

_FIGURES: Dict[str, Any] = {
    'PCK': slice(14), 'ankle PCK': [0, 5], 'knee PCK': [1, 4],
    'hip PCK': [2, 3], 'wrist PCK': [6, 11], 'elbow PCK': [7, 10],
    'shoulder PCK': [8, 9], 'neck PCK': [12], 'head PCK': [13]
}  # yapf: disable
# Shoulder and opposite hip: the left shoulder's first.
_DIAGONALS = ((9, 2), (8, 3))


@METRICS.register_module()
class LspPCKAccuracy(PCKAccuracy):
    """PCK normalized by the torso, for the 14 joints of Leeds Sports Pose.

    A joint is right if it is closer to the truth than ``thr`` times the torso,
    the distance from left shoulder to right hip or, if one of them is not
    labelled, from right shoulder to left hip. People without either are left
    out, and their number is logged.

    Args:
        thr (float): The threshold, in torsos. Defaults to 0.2.
        collect_device (str): ``'cpu'`` or ``'gpu'``, where results of several
            processes are collected. Defaults to ``'cpu'``.
        prefix (str, optional): Before the metrics' names. Defaults to
            ``'lsp'``.
    """

    default_prefix = 'lsp'

    def __init__(self,
                 thr: float = 0.2,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        # None of MMPose's sizes; its torso is made of JHMDB's key points.
        super().__init__(
            thr=thr,
            norm_item=[],
            collect_device=collect_device,
            prefix=prefix)

    @PCKAccuracy.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Metainfo of the data set.

        Raises:
            ValueError: If it is set to that of other key points.
        """
        names = list(dataset_meta['keypoint_id2name'].values())
        if names[12:] != ['neck', 'head_top']:
            raise ValueError(
                f'{type(self).__name__} is for the 14 joints of Leeds Sports '
                f'Pose, but the data set has {", ".join(names)}; take another '
                'metric, e.g. CocoMetric or PCKAccuracy')
        self._dataset_meta = dataset_meta

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Compute PCK.

        Args:
            results (list[dict]): ``pred_coords`` and ``gt_coords``, (1, 14,
                2) in pixels, and ``mask``, (1, 14), of each person.

        Returns:
            dict[str, float]: From 0 to 1: ``PCK``, the mean over the 14
            joints, and ``ankle PCK`` and so on, the mean over both sides.
            Joints that nobody with a torso has labelled are left out of the
            means; NaN if there are no others.
        """
        predicted, truth, mask = (
            np.concatenate([result[key] for result in results])
            for key in ('pred_coords', 'gt_coords', 'mask'))
        torso = np.zeros(len(truth))  # people of size 0 are left out
        for shoulder, hip in reversed(_DIAGONALS):
            known = mask[:, shoulder] & mask[:, hip]
            length = np.linalg.norm(truth[:, shoulder] - truth[:, hip], axis=1)
            torso[known] = length[known]
        MMLogger.get_current_instance().info(
            f'Evaluating {self.__class__.__name__} (PCK@{self.thr} of the '
            f'torso) on {np.count_nonzero(torso)} of {len(torso)} people; the '
            'others have no torso.')
        by_joint, _, _ = keypoint_pck_accuracy(
            predicted, truth, mask, self.thr, np.stack([torso, torso], axis=1))
        by_joint = np.ma.masked_less(by_joint, 0)  # -1: nowhere labelled
        return {
            name: float(np.ma.filled(by_joint[indices].mean(), np.nan))
            for name, indices in _FIGURES.items()
        }
