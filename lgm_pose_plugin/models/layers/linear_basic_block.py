"""A residual block with a linear output, for LGM-Pose-Fast."""
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmpose.utils.typing import ConfigType
from torch import Tensor


class LinearBasicBlock(nn.Module):
    """ResNet's basic block without the activation after the sum.

    Two 3x3 convolutions, of which the first has an activation, beside the
    identity. A linear output is MobileNetV2's idea (`arXiv 1801.04381
    <https://arxiv.org/abs/1801.04381>`_).

    Args:
        in_channels (int): Channels of input and output.
        norm_cfg (dict): Config of the normalization layers.
        act_cfg (dict): Config of the activation layer.

    Example:
        >>> import torch
        >>> block = LinearBasicBlock(32, norm_cfg=dict(type='BN'),
        ...                          act_cfg=dict(type='SiLU'))
        >>> tuple(block(torch.rand(2, 32, 64, 48)).shape)
        (2, 32, 64, 48)
    """

    def __init__(self, in_channels: int, *, norm_cfg: ConfigType,
                 act_cfg: ConfigType):
        super().__init__()
        conv = dict(kernel_size=3, padding=1, norm_cfg=norm_cfg)
        self.conv1 = ConvModule(
            in_channels, in_channels, act_cfg=act_cfg, **conv)
        self.conv2 = ConvModule(in_channels, in_channels, act_cfg=None, **conv)

    def forward(self, x: Tensor) -> Tensor:
        """Forward the block.

        Args:
            x (Tensor): Map of shape ``(B, in_channels, H, W)``.

        Returns:
            Tensor: Map of the same shape.
        """
        return x + self.conv2(self.conv1(x))
