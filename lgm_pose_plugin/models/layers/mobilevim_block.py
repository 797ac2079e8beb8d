"""The MobileViM block of LGM-Pose (arXiv 2506.04561)."""
from typing import Optional, Tuple

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType
from torch import Tensor

from .fast_larm import FastLARM
from .larm import LARM


class GlobalBlock(BaseModule):
    """A block that sees its window by convolutions and the map by a mixer.

    A 3x3 and a 1x1 convolution, the mixer, a 1x1 convolution, then the
    block's input is concatenated and a convolution fuses both.

    Args:
        in_channels (int): Channels of input and output, C.
        embed_dims (int): Channels inside the mixer, d.
        kernel (int): Kernel of the last convolution.
        cfg (dict): Arguments of the convolutions.
        **mixer (nn.Module): The mixer by the name of its weights.
    """

    def __init__(self, in_channels: int, embed_dims: int, kernel: int,
                 cfg: dict, **mixer: nn.Module):
        super().__init__()
        self.local_conv = ConvModule(
            in_channels, in_channels, 3, padding=1, **cfg)
        self.expand_conv = ConvModule(in_channels, embed_dims, 1, **cfg)
        (self.mixer, module), = mixer.items()
        self.add_module(self.mixer, module)
        self.project_conv = ConvModule(embed_dims, in_channels, 1, **cfg)
        self.fusion_conv = ConvModule(
            2 * in_channels, in_channels, kernel, padding=kernel // 2, **cfg)

    def mix(self, x: Tensor) -> Tensor:
        """Let the mixer see a map; the shape stays ``(B, d, H, W)``."""
        return getattr(self, self.mixer)(x)

    def forward(self, x: Tensor) -> Tensor:
        """Forward the block.

        Args:
            x (Tensor): Input of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Output of shape ``(B, C, H, W)``.
        """
        out = self.mix(self.expand_conv(self.local_conv(x)))
        return self.fusion_conv(torch.cat((x, self.project_conv(out)), dim=1))


@MODELS.register_module()
class MobileViMBlock(GlobalBlock):
    """MobileViM block: a MobileViT block with LARM in place of attention.

    See :class:`GlobalBlock`; its last convolution is 1x1.

    Args:
        in_channels (int): Channels of input and output, C.
        feature_size (tuple[int, int]): Height and width of the input map.
        embed_dims (int): Channels inside LARM, d.
        patch_size (int, optional): Height and width of LARM's patches;
            ``None`` leaves LARM out, to see what it does.
        mlp_ratios (tuple[int, int]): Expansion of LARM's MLP over the patches
            and of its MLP over the pixels. Defaults to ``(2, 2)``.
        residual (bool): Whether LARM's MLPs have residual connections.
            Defaults to ``True``.
        fast (bool): Whether LARM is :class:`FastLARM`. Defaults to ``False``.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict): Config of the activation layers. Defaults to
            ``dict(type='SiLU')``.

    Example:
        >>> import torch
        >>> block = MobileViMBlock(
        ...     64, feature_size=(32, 24), embed_dims=96, patch_size=4)
        >>> tuple(block(torch.rand(2, 64, 32, 24)).shape)
        (2, 64, 32, 24)
    """

    def __init__(self,
                 in_channels: int,
                 feature_size: Tuple[int, int],
                 *,
                 embed_dims: int,
                 patch_size: Optional[int],
                 mlp_ratios: Tuple[int, int] = (2, 2),
                 residual: bool = True,
                 fast: bool = False,
                 norm_cfg: ConfigType = dict(type='BN'),
                 act_cfg: ConfigType = dict(type='SiLU')):
        larm: nn.Module = nn.Identity()
        if patch_size is not None:
            larm = (FastLARM if fast else LARM)(feature_size,
                                                (patch_size, patch_size),
                                                mlp_ratios, residual)
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(in_channels, embed_dims, 1, cfg, larm=larm)
