"""MMPose's data sets of the configs, with checks."""
from mmpose.datasets import CocoDataset, MpiiDataset
from mmpose.registry import DATASETS

from ..base.checked_dataset import CheckedDataset


@DATASETS.register_module()
class CheckedCocoDataset(CheckedDataset, CocoDataset):
    """COCO key points, and what is annotated as they are, with checks.

    It takes the arguments of MMPose's :class:`CocoDataset`, but for bottom-up
    networks, and ``on_bad`` of :class:`CheckedDataset`.
    """


@DATASETS.register_module()
class CheckedMpiiDataset(CheckedDataset, MpiiDataset):
    """MPII with checks.

    It takes the arguments of MMPose's :class:`MpiiDataset`, and ``on_bad`` of
    :class:`CheckedDataset`. MPII's annotations have no ids, which are hence
    numbers from 0, and no image sizes.
    """
