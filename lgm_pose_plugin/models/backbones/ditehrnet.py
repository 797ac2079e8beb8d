"""Dite-HRNet, a dynamic lightweight HRNet (arXiv 2204.10762)."""
from typing import Any, List, Sequence

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.models.backbones.utils import channel_shuffle
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor

from ..layers import DenseContextModeling, GlobalContextModeling
from .lite_hr_frame import FrameBlock, FrameModule, LiteHRFrame

# By branch, the largest map first.
NUM_GROUPS = (1, 1, 2, 4)
NUM_KERNELS = (4, 4, 2, 1)
GLOBAL_REDUCTIONS = (4, 4, 8, 8)


def _conv(in_channels: int,
          out_channels: int,
          kernel_size: int,
          num_kernels: int,
          norm_cfg: ConfigType,
          stride: int = 1,
          depthwise: bool = False,
          relu: bool = False) -> ConvModule:
    """Convolution and BatchNorm, dynamic with more than one kernel."""
    return ConvModule(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=in_channels if depthwise else 1,
        conv_cfg=None if num_kernels == 1 else dict(
            type='DynamicConv2d', num_kernels=num_kernels, norm_cfg=norm_cfg),
        norm_cfg=norm_cfg,
        act_cfg=dict(type='ReLU') if relu else None)


class DynamicSplitConvolution(BaseModule):
    """Depthwise convolutions of several sizes, each on a part of the channels.

    Args:
        channels (int): Channels of the map, C.
        num_groups (int): Number of parts; their kernels have the sizes 3, 5,
            7 and 9.
        num_kernels (int): See :class:`DynamicConv2d`.
        norm_cfg (dict): Config of the normalization layers.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.
    """

    def __init__(self,
                 channels: int,
                 num_groups: int,
                 num_kernels: int,
                 norm_cfg: ConfigType,
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        part = channels // num_groups
        # The first part has what is left over.
        self.parts = [channels - part * (num_groups - 1)]
        self.parts += [part] * (num_groups - 1)
        self.conv = nn.ModuleList(
            _conv(c, c, 3 + 2 * i, num_kernels, norm_cfg, depthwise=True)
            for i, c in enumerate(self.parts))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the parts and shuffle the channels.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        parts = x.split(self.parts, 1)
        out = torch.cat([conv(part) for conv, part in zip(self.conv, parts)],
                        1)
        return channel_shuffle(out, len(self.parts))


class DynamicContextBlock(FrameBlock):
    """The block of all stages, in place of Lite-HRNet's channel weighting.

    Half of the channels pass; the other half of all branches goes through
    :class:`DenseContextModeling`, then each branch through
    :class:`DynamicSplitConvolution` and :class:`GlobalContextModeling`.

    Args:
        in_channels (Sequence[int]): Channels of the branches, the largest map
            first.
        norm_cfg (dict): Config of the normalization layers.
        **kwargs: Arguments of :class:`FrameBlock`.
    """

    def __init__(self, in_channels: Sequence[int], norm_cfg: ConfigType,
                 **kwargs: Any):
        super().__init__(**kwargs)
        halves = [channels // 2 for channels in in_channels]
        self.dcm = DenseContextModeling(halves, 8, norm_cfg)
        self.conv = nn.ModuleList(
            DynamicSplitConvolution(*args, norm_cfg)
            for args in zip(halves, NUM_GROUPS, NUM_KERNELS))
        self.gcm = nn.ModuleList(
            GlobalContextModeling(*args, norm_cfg)
            for args in zip(halves, GLOBAL_REDUCTIONS))

    def _forward(self, *maps: Tensor) -> List[Tensor]:
        passing, halves = zip(*(x.chunk(2, 1) for x in maps))
        outs = [
            gcm(conv(half))
            for half, conv, gcm in zip(self.dcm(halves), self.conv, self.gcm)
        ]
        return [
            channel_shuffle(torch.cat(pair, 1), 2)
            for pair in zip(passing, outs)
        ]


class DiteHRModule(FrameModule):
    """Blocks of all branches and the fusion, see :class:`FrameModule`."""

    block = DynamicContextBlock

    def __init__(self, *args: Any):
        super().__init__(*args)
        # LiteHRModule adds to the first map in place and goes on with it. In
        # the published code, the ReLU is in place, too.
        self.relu = nn.ReLU(inplace=True)


class DiteStem(BaseModule):
    """Dite-HRNet's dynamic global context stem, to a quarter of the size.

    Args:
        in_channels (int): Channels of the image.
        channels (int): Channels of the output.
        norm_cfg (dict): Config of the normalization layers.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.
    """

    def __init__(self,
                 in_channels: int,
                 channels: int,
                 norm_cfg: ConfigType,
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.out_channels = channels
        half, squeezed = channels // 2, channels // 8
        self.conv1 = _conv(
            in_channels, channels, 3, 1, norm_cfg, stride=2, relu=True)
        self.branch1 = nn.Sequential(
            _conv(half, half, 3, 4, norm_cfg, stride=2, depthwise=True),
            GlobalContextModeling(half, 4, norm_cfg),
            _conv(half, half, 1, 4, norm_cfg, relu=True))
        self.branch2 = nn.Sequential(
            _conv(half, half, 3, 4, norm_cfg, depthwise=True),
            GlobalContextModeling(half, 4, norm_cfg),
            _conv(half, squeezed, 1, 4, norm_cfg, relu=True),
            _conv(squeezed, half, 1, 4, norm_cfg),
            _conv(
                half,
                half,
                3,
                4,
                norm_cfg,
                stride=2,
                depthwise=True,
                relu=True))

    def forward(self, x: Tensor) -> Tensor:
        """Process images.

        Args:
            x (Tensor): Images of shape ``(B, in_channels, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, channels, H / 4, W / 4)``.
        """
        first, second = self.conv1(x).chunk(2, 1)
        out = torch.cat((self.branch1(first), self.branch2(second)), 1)
        return channel_shuffle(out, 2)


@MODELS.register_module()
class DiteHRNet(LiteHRFrame):
    """`Dite-HRNet <https://arxiv.org/abs/2204.10762>`_, IJCAI 2022.

    Lite-HRNet's frame of transitions, fusions and iterative head, with another
    stem and other blocks: dynamic convolutions of several sizes, and context
    of the whole map. It computes what the `published code
    <https://github.com/ZiyiZhang27/Dite-HRNet>`_ computes, has the same names
    of weights, and loads its checkpoints.

    ========  ===============  =========================  ================
    part      size             channels                   modules (18, 30)
    ========  ===============  =========================  ================
    stem      1/4              32
    stage 0   1/4, 1/8         40, 80                     2, 3
    stage 1   1/4 to 1/16      40, 80, 160                4, 8
    stage 2   1/4 to 1/32      40, 80, 160, 320           2, 3
    head      1/4              40
    ========  ===============  =========================  ================

    Each module has two blocks and a fusion.

    Args:
        depth (int): 18 or 30. Defaults to 18.
        in_channels (int): Channels of the image. Defaults to 3.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        norm_eval (bool): Whether BatchNorm stays in eval mode. Defaults to
            ``False``.
        with_cp (bool): Whether training recomputes the blocks' activations in
            the backward pass to save memory. Defaults to ``False``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to Lite-HRNet's.

    Raises:
        ValueError: If there is no such depth; from ``forward``, if the sides
            of an image are not multiples of 32.

    Example:
        >>> import torch
        >>> backbone = DiteHRNet(depth=18).eval()
        >>> out, = backbone(torch.rand(1, 3, 256, 192))
        >>> tuple(out.shape)
        (1, 40, 64, 48)
    """

    module = DiteHRModule

    def __init__(self,
                 depth: int = 18,
                 in_channels: int = 3,
                 norm_cfg: ConfigType = dict(type='BN'),
                 **kwargs: Any):
        super().__init__(
            DiteStem(in_channels, 32, norm_cfg), 40, depth, norm_cfg, **kwargs)
