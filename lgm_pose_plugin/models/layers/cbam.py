"""CBAM (arXiv 1807.06521) and LAPX's ECA-CBAM."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor

from .eca import ECA


class SpatialAttention(nn.Module):
    """``x * sigmoid(Conv7x7([max_c(x); mean_c(x)]))``, CBAM's second half."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the pixels; the shape stays ``(B, C, H, W)``."""
        pooled = torch.cat(
            (x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)), dim=1)
        return x * self.conv(pooled).sigmoid()


# A name of its own: projects register theirs with MMPose, too.
@MODELS.register_module('LAPXCBAM')
class CBAM(BaseModule):
    """Convolutional block attention module.

    Channel attention by a shared MLP, ``x * sigmoid(MLP(GMP(x)) +
    MLP(GAP(x)))``, then :class:`SpatialAttention`; `arXiv 1807.06521
    <https://arxiv.org/abs/1807.06521>`_, Eq. (2) and (3).

    Args:
        in_channels (int): Channels of the map, C.
        reduction (int): The MLP has ``C // reduction`` hidden units, at least
            one. Defaults to 16.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.

    Example:
        >>> import torch
        >>> layer = CBAM(208)
        >>> tuple(layer(torch.rand(2, 208, 16, 12)).shape)
        (2, 208, 16, 12)
    """

    def __init__(self,
                 in_channels: int,
                 reduction: int = 16,
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        hidden = max(in_channels // reduction, 1)
        self.channel_mlp = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False), nn.ReLU(),
            nn.Conv2d(hidden, in_channels, 1, bias=False))
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Weight channels, then pixels.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        # Not adaptive_max_pool2d: on GPUs its gradient is not deterministic.
        weights = self.channel_mlp(x.amax(
            (2, 3), keepdim=True)) + self.channel_mlp(
                F.adaptive_avg_pool2d(x, 1))
        return self.spatial(x * weights.sigmoid())


@MODELS.register_module()
class ECACBAM(BaseModule):
    """CBAM with :class:`ECA` as its channel attention.

    From `LAPX <https://arxiv.org/abs/2512.16089>`_; 105 parameters at any
    width.

    Args:
        in_channels (int): Channels of the map.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.

    Example:
        >>> import torch
        >>> layer = ECACBAM(208)
        >>> tuple(layer(torch.rand(2, 208, 16, 12)).shape)
        (2, 208, 16, 12)
    """

    def __init__(self, in_channels: int, init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.channel = ECA(in_channels)
        self.spatial = SpatialAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Weight channels, then pixels.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        return self.spatial(self.channel(x))
