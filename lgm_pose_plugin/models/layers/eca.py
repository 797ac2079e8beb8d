"""Efficient channel attention (arXiv 1910.03151) as LAPX uses it."""
import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor


# A name of its own: projects register theirs with MMPose, too.
@MODELS.register_module('LAPXECA')
class ECA(BaseModule):
    """Efficient channel attention.

    ``x * sigmoid(Conv1d(GAP(x) + GMP(x)))``, as in `LAPX
    <https://arxiv.org/abs/2512.16089>`_: each channel is weighted by what the
    global average and maximum of its neighbours say. The original (`arXiv
    1910.03151 <https://arxiv.org/abs/1910.03151>`_) has the average alone.

    Args:
        in_channels (int): Channels of the map. It works for any number; the
            argument is there because every attention has it.
        kernel_size (int): Channels seen by the convolution, odd. Defaults
            to 7.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.

    Example:
        >>> import torch
        >>> layer = ECA(208)
        >>> tuple(layer(torch.rand(2, 208, 16, 12)).shape)
        (2, 208, 16, 12)
    """

    def __init__(self,
                 in_channels: int,
                 kernel_size: int = 7,
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.conv = nn.Conv1d(
            1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        # Not adaptive_max_pool2d: on GPUs its gradient is not deterministic.
        pooled = F.adaptive_avg_pool2d(x, 1) + x.amax((2, 3), keepdim=True)
        pooled = pooled.flatten(2).transpose(1, 2)  # (B, 1, C)
        weights = self.conv(pooled)  # along the channels
        weights = weights.transpose(1, 2).unsqueeze(3)  # (B, C, 1, 1)
        return x * weights.sigmoid()
