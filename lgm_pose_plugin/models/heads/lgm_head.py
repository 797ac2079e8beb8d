"""The heat-map head of LGM-Pose (arXiv 2506.04561)."""
from typing import Any

from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS

from .in_graph_decoding import InGraphDecoding


@MODELS.register_module()
class LGMHead(InGraphDecoding, HeatmapHead):
    """Heat-map head of `LGM-Pose <https://arxiv.org/abs/2506.04561>`_.

    MMPose's :class:`HeatmapHead` without deconvolutions of its own, which
    are in :class:`SFusionNeck`: by default one 1x1 convolution. For exported
    graphs see :class:`InGraphDecoding`.

    Args:
        in_channels (int): Channels of the input map.
        out_channels (int): Number K of key points.
        **kwargs: Other arguments of ``HeatmapHead``: ``loss`` (defaults to
            :class:`KeypointMSELoss` with target weights), ``decoder``,
            ``init_cfg``, ``final_layer`` (LGM-Pose-Fast's doubles the map)
            and layers before it.

    Example:
        >>> import torch
        >>> head = LGMHead(112, 17, decoder=dict(type='MSRAHeatmap',
        ...     input_size=(192, 256), heatmap_size=(48, 64), sigma=2))
        >>> feats = (torch.rand(1, 112, 64, 48), )
        >>> tuple(head(feats).shape)
        (1, 17, 64, 48)
        >>> head.switch_to_deploy()
        >>> [tuple(out.shape) for out in head(feats)]
        [(1, 17, 2), (1, 17)]
    """

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any):
        super().__init__(
            in_channels, out_channels, deconv_out_channels=None, **kwargs)
