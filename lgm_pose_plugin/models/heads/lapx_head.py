"""The heat-map head of LAPX (arXiv 2512.16089)."""
from typing import Any

from mmpose.models.heads import CPMHead
from mmpose.registry import MODELS

from .in_graph_decoding import InGraphDecoding


@MODELS.register_module()
class LAPXHead(InGraphDecoding, CPMHead):
    """Heat-map head of `LAPX <https://arxiv.org/abs/2512.16089>`_.

    :class:`LAPX` predicts the heat maps itself, since they are fed back; this
    is MMPose's :class:`CPMHead` without layers of its own: the losses of all
    stages are added, the last stage is the prediction. What ``CPMHead`` lacks
    is the decoding for exported graphs, see :class:`InGraphDecoding`.

    Args:
        out_channels (int): Number K of key points.
        num_stages (int): Number of stages. Defaults to 3.
        **kwargs: Other arguments of ``CPMHead``: ``loss``, one for all stages
            or one per stage (defaults to :class:`KeypointMSELoss` with target
            weights), ``decoder``.

    Example:
        >>> import torch
        >>> head = LAPXHead(17, decoder=dict(type='MSRAHeatmap',
        ...     input_size=(192, 256), heatmap_size=(48, 64), sigma=2))
        >>> feats = 3 * (torch.rand(1, 17, 64, 48), )
        >>> [tuple(out.shape) for out in head(feats)]
        [(1, 17, 64, 48), (1, 17, 64, 48), (1, 17, 64, 48)]
        >>> head.switch_to_deploy()
        >>> [tuple(out.shape) for out in head(feats)]
        [(1, 17, 2), (1, 17)]
    """

    def __init__(self, out_channels: int, num_stages: int = 3, **kwargs: Any):
        super().__init__(
            out_channels, out_channels, num_stages, final_layer=None, **kwargs)
