"""SFusion, the neck of LGM-Pose (arXiv 2506.04561)."""
from typing import Sequence, Tuple

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor


class PairShuffle(nn.Module):
    """Put channel i of the first half before channel i of the second.

    Args:
        channels (int): Number C of channels.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.order = [
            half + i for i in range(channels // 2)
            for half in (0, channels // 2)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Shuffle channels; the shape stays ``(B, C, H, W)``."""
        # ONNX has no shuffle, but a gather.
        if torch.jit.is_tracing():
            return x[:, self.order]
        # It keeps channels_last; MMPose's view-based one breaks the format,
        # and torch's own has no derivative in torch 2.1 and older.
        x = x.permute(0, 2, 3, 1).unflatten(3, (2, -1))  # (B, H, W, 2, C/2)
        x = x.transpose(3, 4).flatten(3)  # (B, H, W, C)
        return x.permute(0, 3, 1, 2)  # (B, C, H, W)


class SFusion(BaseModule):
    """Fuse concatenated maps by a channel shuffle and a grouped convolution.

    The shuffle puts channel i of the first half beside channel i of the
    second half; the 3x3 convolution has one group per such pair. The other
    values of ``fusion`` are the rows of the paper's Table 5.

    Args:
        channels (int): Channels T of the concatenated maps, kept by the
            output.
        fusion (str): ``'sfusion'``; without the shuffle ``'dw2'`` (T/2
            groups), ``'dw1'`` (T groups) and ``'conv'`` (one group).
        pointwise (bool): Whether a 1x1 convolution follows.
        norm_cfg (dict): Config of the normalization layers.
        act_cfg (dict): Config of the activation layers.

    Example:
        >>> import torch
        >>> fuse = SFusion(256, 'sfusion', pointwise=False,
        ...     norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
        >>> feats = [torch.rand(2, c, 16, 12) for c in (96, 80, 80)]
        >>> tuple(fuse(feats).shape)
        (2, 256, 16, 12)
    """

    def __init__(self, channels: int, fusion: str, pointwise: bool,
                 norm_cfg: ConfigType, act_cfg: ConfigType):
        super().__init__()
        groups = dict(
            sfusion=channels // 2, dw2=channels // 2, dw1=channels, conv=1)
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.shuffle = (
            PairShuffle(channels) if fusion == 'sfusion' else nn.Identity())
        self.conv = ConvModule(
            channels, channels, 3, padding=1, groups=groups[fusion], **cfg)
        self.pointwise_conv = (
            ConvModule(channels, channels, 1, **cfg)
            if pointwise else nn.Identity())

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Fuse maps.

        Args:
            feats (Sequence[Tensor]): Maps of shape ``(B, C_i, H, W)`` with T
                channels in all.

        Returns:
            Tensor: Output of shape ``(B, T, H, W)``.
        """
        x = self.shuffle(torch.cat(tuple(feats), dim=1))
        return self.pointwise_conv(self.conv(x))


@MODELS.register_module()
class SFusionNeck(BaseModule):
    """Neck of `LGM-Pose <https://arxiv.org/abs/2506.04561>`_.

    Deconvolutions double the size of the last map step by step; after each
    step that has an entry in ``skips``, backbone maps of that size are
    concatenated and fused (:class:`SFusion`). The concatenated width is kept,
    so the next deconvolution is wider. With the defaults and design A of
    :class:`MobileViM` at 256x192 input (HxW):

    ==========  ==================  =======  =====
    step        inputs              output   size
    ==========  ==================  =======  =====
    deconv      96                  96       16x12
    SFusion     96 + b16 + a16      256      16x12
    deconv      256                 112      32x24
    SFusion     112 + b8 + a8       240      32x24
    deconv      240                 112      64x48
    ==========  ==================  =======  =====

    Args:
        in_channels (Sequence[int]): Channels of each backbone map, from the
            largest map to the smallest.
        deconv_channels (Sequence[int]): Output channels of each
            deconvolution. Defaults to ``(96, 112, 112)``.
        deconv_kernel_size (int): Kernel of the deconvolutions, 2 or 3; the
            stride is 2. 1 puts a 1x1 convolution and nearest-neighbour
            upsampling in their place. Defaults to 3.
        skips (Sequence[Sequence[int]]): For each of the first deconvolutions,
            the indices of the backbone maps fused after it. Defaults to
            ``((3, 2), (1, 0))``.
        fusion (str): ``'sfusion'``, ``'conv'``, ``'dw1'``, ``'dw2'`` (see
            :class:`SFusion`), or ``'none'`` for deconvolutions alone.
            Defaults to ``'sfusion'``.
        pointwise (bool): Whether each fusion ends with a 1x1 convolution.
            Defaults to ``False``.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict): Config of the activation layers. Defaults to
            ``dict(type='ReLU')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to Kaiming for convolutions.

    Raises:
        ValueError: If ``fusion`` or ``deconv_kernel_size`` is unknown, or
            ``skips`` name maps or levels that do not exist; from
            ``forward``, if the number of maps is not that of ``in_channels``
            or maps to fuse are not of the same size.

    Example:
        >>> import torch
        >>> neck = SFusionNeck(in_channels=(64, 64, 80, 80, 96)).eval()
        >>> feats = [torch.rand(1, 64, 32, 24)] * 2
        >>> feats += [torch.rand(1, 80, 16, 12)] * 2
        >>> feats += [torch.rand(1, 96, 8, 6)]
        >>> tuple(neck(feats)[0].shape)
        (1, 112, 64, 48)
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 *,
                 deconv_channels: Sequence[int] = (96, 112, 112),
                 deconv_kernel_size: int = 3,
                 skips: Sequence[Sequence[int]] = ((3, 2), (1, 0)),
                 fusion: str = 'sfusion',
                 pointwise: bool = False,
                 norm_cfg: ConfigType = dict(type='BN'),
                 act_cfg: ConfigType = dict(type='ReLU'),
                 init_cfg: OptMultiConfig = [
                     dict(type='Kaiming', layer=['Conv2d', 'ConvTranspose2d']),
                     dict(type='Constant', layer='_BatchNorm', val=1)
                 ]):
        super().__init__(init_cfg)
        for name, value, choices in (('fusion', fusion,
                                      ('sfusion', 'conv', 'dw1', 'dw2',
                                       'none')), ('deconv_kernel_size',
                                                  deconv_kernel_size, (1, 2,
                                                                       3))):
            if value not in choices:
                raise ValueError(
                    f'{name} must be one of {choices}, got {value!r}')
        self.in_channels = tuple(in_channels)
        self.skips = () if fusion == 'none' else tuple(map(tuple, skips))
        maps = range(-len(in_channels), len(in_channels))
        if len(self.skips) > len(deconv_channels) or any(
                skip not in maps for skips in self.skips for skip in skips):
            raise ValueError(
                f'skips {self.skips} do not fit {len(deconv_channels)} '
                f'deconv_channels and {len(in_channels)} in_channels; give at '
                'most one entry per deconvolution: the indices of the maps '
                'that have its size')
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)

        self.deconvs = nn.ModuleList()
        self.fusions = nn.ModuleList()
        channels = in_channels[-1]
        for i, out_channels in enumerate(deconv_channels):
            self.deconvs.append(
                self._make_deconv(channels, out_channels, deconv_kernel_size,
                                  **cfg))
            channels = out_channels
            if i < len(self.skips):
                channels += sum(in_channels[skip] for skip in self.skips[i])
                self.fusions.append(
                    SFusion(channels, fusion, pointwise, **cfg))

    @staticmethod
    def _make_deconv(in_channels: int, out_channels: int, kernel_size: int,
                     **cfg) -> nn.Module:
        """Build what doubles the size of a map, exactly."""
        if kernel_size == 1:
            return nn.Sequential(
                ConvModule(in_channels, out_channels, 1, **cfg),
                nn.Upsample(scale_factor=2))
        # Padding and output padding are 1 for a kernel of 3.
        padding = kernel_size - 2
        return ConvModule(
            in_channels,
            out_channels,
            kernel_size,
            stride=2,
            padding=padding,
            conv_cfg=dict(type='deconv', output_padding=padding),
            **cfg)

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor]:
        """Enlarge the last map, fusing the others into it.

        Args:
            feats (Sequence[Tensor]): Backbone maps of shape
                ``(B, in_channels[i], H_i, W_i)``.

        Returns:
            tuple[Tensor]: One map of shape ``(B, C, 8H, 8W)``, where H and W
            are those of the last backbone map (for three deconvolutions).
        """
        if len(feats) != len(self.in_channels):
            raise ValueError(
                f'SFusionNeck was built for {len(self.in_channels)} maps of '
                f'{self.in_channels} channels, got {len(feats)}; fit '
                "in_channels to the backbone's out_indices")
        x = feats[-1]
        for i, deconv in enumerate(self.deconvs):
            x = deconv(x)
            if i < len(self.fusions):
                maps = [x, *(feats[skip] for skip in self.skips[i])]
                sizes = [tuple(one.shape[2:]) for one in maps]
                # A tracer sees tensors in place of the sizes.
                if not torch.jit.is_tracing() and len(set(sizes)) > 1:
                    raise ValueError(
                        'SFusionNeck cannot fuse its map and those of skips '
                        f'{self.skips[i]} with sizes {sizes} (HxW); choose an '
                        'input whose sides are multiples of the stride of the '
                        "backbone's last map, mostly 32, and skips of the "
                        'same size')
                x = self.fusions[i](maps)
        return (x, )
