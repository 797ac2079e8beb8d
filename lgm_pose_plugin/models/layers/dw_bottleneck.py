"""The depth-wise bottleneck of LAP and LAPX (arXiv 2512.16089)."""
from typing import Tuple

import torch
import torch.nn as nn
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule, Sequential
from mmpose.utils.typing import ConfigType
from torch import Tensor


class DWBottleneck(BaseModule):
    """Pre-activation bottleneck with a depth-wise 3x3 convolution.

    ``F(x) + skip(x)``, where ``F`` is BN, ELU and a 1x1 convolution to half
    the output channels; BN, ELU and a depth-wise 3x3 convolution; BN, ELU and
    a 1x1 convolution to the output channels. The skip is the identity, or a
    1x1 convolution if the number of channels changes. With a soft gate
    (`arXiv 2002.11098 <https://arxiv.org/abs/2002.11098>`_) it is ``F(x) +
    alpha * skip(x)`` with one learnt alpha per channel, 0 at first.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        soft_gate (bool): Whether the skip is gated.
        conv_bias (bool): Whether the convolutions that a BN follows have a
            bias.
        norm_cfg (dict): Config of the normalization layers.
        act_cfg (dict): Config of the activation layers.

    Example:
        >>> import torch
        >>> block = DWBottleneck(104, 208, soft_gate=True, conv_bias=False,
        ...     norm_cfg=dict(type='BN'), act_cfg=dict(type='ELU'))
        >>> tuple(block(torch.rand(2, 104, 64, 48)).shape)
        (2, 208, 64, 48)
    """

    def __init__(self, in_channels: int, out_channels: int, *, soft_gate: bool,
                 conv_bias: bool, norm_cfg: ConfigType, act_cfg: ConfigType):
        super().__init__()
        mid = out_channels // 2

        def norm_act(channels: int) -> Tuple[nn.Module, nn.Module]:
            return (build_norm_layer(norm_cfg, channels)[1],
                    build_activation_layer(act_cfg))

        self.branch = Sequential(
            *norm_act(in_channels),
            nn.Conv2d(in_channels, mid, 1, bias=conv_bias), *norm_act(mid),
            nn.Conv2d(mid, mid, 3, padding=1, groups=mid, bias=conv_bias),
            *norm_act(mid), nn.Conv2d(mid, out_channels, 1))
        self.skip = nn.Identity() if in_channels == out_channels else (
            nn.Conv2d(in_channels, out_channels, 1))
        if soft_gate:
            self.alpha = nn.Parameter(torch.zeros(out_channels, 1, 1))
        self.soft_gate = soft_gate

    def forward(self, x: Tensor) -> Tensor:
        """Forward the block.

        Args:
            x (Tensor): Map of shape ``(B, in_channels, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, out_channels, H, W)``.
        """
        skip = self.skip(x)
        if self.soft_gate:
            skip = self.alpha * skip
        return self.branch(x) + skip
