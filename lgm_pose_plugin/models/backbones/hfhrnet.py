"""HF-HRNet, a hardware-friendly lightweight HRNet."""
from typing import Any, List, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from mmpose.models.backbones.litehrnet import CrossResolutionWeighting
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptConfigType, OptMultiConfig
from torch import Tensor

from .lite_hr_frame import FrameBlock, FrameModule, LiteHRFrame


class ContextEmbedding(nn.Sequential):
    """Add the context of the neighbourhood to each pixel.

    A 3x3 average pool to half the size, a 1x1 convolution and upsampling by
    nearest neighbour. A map with an odd side is pooled to one pixel, as the
    published code does at 384x288.

    Args:
        channels (int): Channels of the map, C.
        relu (bool): Whether a ReLU follows the convolution.
    """

    def __init__(self, channels: int, relu: bool):
        super().__init__(
            nn.AvgPool2d(3, 2, 1),
            nn.Conv2d(channels, channels, 1, bias=False),
            *([nn.ReLU()] if relu else []))

    def forward(self, x: Tensor) -> Tensor:
        """Add the context.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        is_odd = x.shape[2] % 2 or x.shape[3] % 2
        context = F.adaptive_avg_pool2d(x, 1) if is_odd else self[0](x)
        for layer in list(self)[1:]:
            context = layer(context)
        return x + (
            context if is_odd else F.interpolate(context, scale_factor=2))


class BranchWeighting(CrossResolutionWeighting):
    """Lite-HRNet's weighting, with steps of 2 between the branches.

    MMPose's computes its sizes in the graph, which torch cannot export.
    """

    def forward(self, maps: Sequence[Tensor]) -> List[Tensor]:
        """Weight the channels of all branches.

        Args:
            maps (Sequence[Tensor]): Maps of shapes ``(B, C, H, W)``, each of
                half the size of the one before.

        Returns:
            list[Tensor]: Maps of the same shapes.
        """
        scales = [2**i for i in reversed(range(len(maps)))]
        pooled = [F.avg_pool2d(x, scale) for x, scale in zip(maps, scales)]
        weights = self.conv2(self.conv1(torch.cat(pooled, 1)))
        return [
            x * F.interpolate(weight, scale_factor=scale) for x, weight, scale
            in zip(maps, weights.split(self.channels, 1), scales)
        ]


def _depthwise(channels: int, norm_cfg: ConfigType,
               act_cfg: OptConfigType) -> ConvModule:
    """Depthwise 3x3 convolution with normalization."""
    return ConvModule(
        channels,
        channels,
        3,
        padding=1,
        groups=channels,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg)


class CascadedBlock(FrameBlock):
    """The block of all stages: HF-HRNet's hardware-friendly mug.

    Lite-HRNet's weighting of all branches, then in each branch two depthwise
    convolutions with a :class:`ContextEmbedding` behind each, and a residual.

    Args:
        in_channels (Sequence[int]): Channels of the branches, the largest map
            first.
        norm_cfg (dict): Config of the normalization layers.
        **kwargs: Arguments of :class:`FrameBlock`.
    """

    def __init__(self, in_channels: Sequence[int], norm_cfg: ConfigType,
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.cross_resolution_weighting = BranchWeighting(
            in_channels, ratio=8, norm_cfg=norm_cfg)
        self.depthwise_convsfirst = nn.ModuleList(
            _depthwise(c, norm_cfg, dict(type='ReLU')) for c in in_channels)
        self.global1 = nn.ModuleList(
            ContextEmbedding(c, relu=False) for c in in_channels)
        self.depthwise_convslast = nn.ModuleList(
            _depthwise(c, norm_cfg, None) for c in in_channels)
        self.global2 = nn.ModuleList(
            ContextEmbedding(c, relu=False) for c in in_channels)

    def _forward(self, *maps: Tensor) -> List[Tensor]:
        outs = self.cross_resolution_weighting(maps)
        for layers in (self.depthwise_convsfirst, self.global1,
                       self.depthwise_convslast, self.global2):
            outs = [layer(out) for layer, out in zip(layers, outs)]
        return [x + out for x, out in zip(maps, outs)]


class HFHRModule(FrameModule):
    """Blocks of all branches and the fusion, see :class:`FrameModule`."""

    block = CascadedBlock


class CascadedDownsample(BaseModule):
    """A :class:`CascadedBlock` of one branch that halves the map.

    Args:
        in_channels (int): Channels of the map.
        out_channels (int): Channels of the output.
        norm_cfg (dict): Config of the normalization layers.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 norm_cfg: ConfigType,
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)

        def conv(c: int, out: int, size: int, stride: int = 1) -> list:
            return [
                nn.Conv2d(
                    c,
                    out,
                    size,
                    stride,
                    size // 2,
                    groups=c if size > 1 else 1,
                    bias=False),
                build_norm_layer(norm_cfg, out)[1]
            ]

        # Spelled as in the published weights.
        self.dwonsample = nn.Sequential(*conv(in_channels, in_channels, 3, 2),
                                        *conv(in_channels, out_channels, 1))
        self.conv1 = nn.Sequential(*conv(in_channels, out_channels, 1),
                                   nn.ReLU())
        self.conv2 = nn.Sequential(*conv(out_channels, out_channels, 3),
                                   nn.ReLU())
        self.global1 = ContextEmbedding(out_channels, relu=True)
        self.conv3 = nn.Sequential(*conv(out_channels, out_channels, 3, 2))
        self.global2 = ContextEmbedding(out_channels, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """Process a map.

        Args:
            x (Tensor): Map of shape ``(B, in_channels, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, out_channels, H / 2, W / 2)``.
        """
        out = self.global1(self.conv2(self.conv1(x)))
        return self.global2(self.conv3(out)) + self.dwonsample(x)


class HFStem(BaseModule):
    """HF-HRNet's stem, to a quarter of the size.

    Args:
        in_channels (int): Channels of the image.
        stem_channels (int): Channels at half the size.
        out_channels (int): Channels of the output.
        norm_cfg (dict): Config of the normalization layers.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.
    """

    def __init__(self,
                 in_channels: int,
                 stem_channels: int,
                 out_channels: int,
                 norm_cfg: ConfigType,
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.out_channels = out_channels
        self.conv1 = ConvModule(
            in_channels,
            stem_channels,
            3,
            stride=2,
            padding=1,
            norm_cfg=norm_cfg)
        self.conv2 = CascadedDownsample(stem_channels, out_channels, norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Process images.

        Args:
            x (Tensor): Images of shape ``(B, in_channels, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, out_channels, H / 4, W / 4)``.
        """
        return self.conv2(self.conv1(x))


@MODELS.register_module()
class HFHRNet(LiteHRFrame):
    """`HF-HRNet <https://doi.org/10.1109/TCSVT.2024.3377365>`_, TCSVT 2024.

    Lite-HRNet's frame with blocks of depthwise convolutions and pooled context
    and without channel shuffles. It computes what the `published code
    <https://github.com/zhanghao5201/HF-HRNet>`_ computes, has the same names
    of weights, and loads its checkpoints.

    ========  ===============  =========================  ================
    part      size             channels                   modules (18, 30)
    ========  ===============  =========================  ================
    stem      1/4              48
    stage 0   1/4, 1/8         48, 96                     2, 3
    stage 1   1/4 to 1/16      48, 96, 192                4, 8
    stage 2   1/4 to 1/32      48, 96, 192, 384           2, 3
    head      1/4              48
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
        >>> backbone = HFHRNet(depth=18).eval()
        >>> out, = backbone(torch.rand(1, 3, 256, 192))
        >>> tuple(out.shape)
        (1, 48, 64, 48)
    """

    module = HFHRModule

    def __init__(self,
                 depth: int = 18,
                 in_channels: int = 3,
                 norm_cfg: ConfigType = dict(type='BN'),
                 **kwargs: Any):
        super().__init__(
            HFStem(in_channels, 32, 48, norm_cfg), 48, depth, norm_cfg,
            **kwargs)
