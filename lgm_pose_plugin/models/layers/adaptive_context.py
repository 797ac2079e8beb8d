"""Adaptive context modelling of Dite-HRNet (arXiv 2204.10762).

Weights are named as in the `published code
<https://github.com/ZiyiZhang27/Dite-HRNet>`_.
"""
from typing import List, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor


def channel_attention(channels: int, reduction: int,
                      norm_cfg: ConfigType) -> nn.Sequential:
    """Build the bottleneck that turns pooled context into channel weights.

    Args:
        channels (int): Channels of the context.
        reduction (int): The bottleneck has ``channels // reduction``.
        norm_cfg (dict): Config of its normalization layer.

    Returns:
        nn.Sequential: From ``(B, channels, h, w)`` to weights between 0 and 1
        of the same shape.
    """
    squeezed = channels // reduction
    return nn.Sequential(
        nn.Conv2d(channels, squeezed, 1, bias=False),
        build_norm_layer(norm_cfg, squeezed)[1], nn.ReLU(),
        nn.Conv2d(squeezed, channels, 1), nn.Sigmoid())


class GlobalContextModeling(BaseModule):
    """Weight the channels by a context of the whole map, then normalize.

    The context is a mean over the pixels, which a 1x1 convolution with a
    softmax weights.

    Args:
        channels (int): Channels of the map, C.
        reduction (int): See :func:`channel_attention`.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.

    Example:
        >>> import torch
        >>> layer = GlobalContextModeling(20, reduction=4)
        >>> tuple(layer(torch.rand(2, 20, 64, 48)).shape)
        (2, 20, 64, 48)
    """

    def __init__(self,
                 channels: int,
                 reduction: int,
                 norm_cfg: ConfigType = dict(type='BN'),
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_attention = channel_attention(channels, reduction,
                                                   norm_cfg)
        self.bn = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        mask = self.conv_mask(x).flatten(2).softmax(2)  # (B, 1, H * W)
        context = x.flatten(2) @ mask.transpose(1, 2)  # (B, C, 1)
        return self.bn(x * self.channel_attention(context.unsqueeze(3)))


class DenseContextModeling(BaseModule):
    """Weight the channels of all branches by a context of all branches.

    Each map is pooled to the size of the smallest, by a mean that a 1x1
    convolution with a softmax over the whole map weights.

    Like the published code, the pooling takes the values of a map in the order
    in which they lie in memory and cuts them into as many runs as the smallest
    map has pixels. So its windows are not windows of pixels, and weights of
    the published code need it this way.

    Args:
        channels (Sequence[int]): Channels of the maps, the largest map first.
        reduction (int): See :func:`channel_attention`.
        norm_cfg (dict): Config of the normalization layer. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.

    Example:
        >>> import torch
        >>> layer = DenseContextModeling((20, 40), reduction=8)
        >>> maps = torch.rand(2, 20, 64, 48), torch.rand(2, 40, 32, 24)
        >>> [tuple(out.shape) for out in layer(maps)]
        [(2, 20, 64, 48), (2, 40, 32, 24)]
    """

    def __init__(self,
                 channels: Sequence[int],
                 reduction: int,
                 norm_cfg: ConfigType = dict(type='BN'),
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.channels = list(channels)
        self.conv_mask = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in channels)
        # The smallest map is not pooled; the published weights have this one.
        self.conv_mask[-1].requires_grad_(False)
        self.channel_attention = channel_attention(
            sum(channels), reduction, norm_cfg)

    def forward(self, maps: Sequence[Tensor]) -> List[Tensor]:
        """Weight the channels.

        Args:
            maps (Sequence[Tensor]): Maps of shapes ``(B, C, H, W)``, each of
                whose number of pixels is a multiple of the last one's.

        Returns:
            list[Tensor]: Maps of the same shapes.
        """
        size = maps[-1].shape[2:]
        contexts = [
            self._pool(x, conv(x), size)
            for x, conv in zip(maps[:-1], self.conv_mask)
        ]
        weights = self.channel_attention(torch.cat([*contexts, maps[-1]], 1))
        return [
            x * F.interpolate(weight, size=x.shape[2:], mode='nearest')
            for x, weight in zip(maps, weights.split(self.channels, 1))
        ]

    @staticmethod
    def _pool(x: Tensor, mask: Tensor, size: Sequence[int]) -> Tensor:
        """Pool a map to a size, with a mask of shape ``(B, 1, H, W)``."""
        pixels = size[0] * size[1]
        mask = mask.flatten(2).softmax(2)
        mask = mask.reshape(x.shape[0], pixels, -1, 1)
        runs = x.reshape(x.shape[0], pixels, x.shape[1], -1)
        context = runs @ mask  # (B, pixels, C, 1)
        return context.transpose(1, 2).unflatten(2, tuple(size)).squeeze(4)
