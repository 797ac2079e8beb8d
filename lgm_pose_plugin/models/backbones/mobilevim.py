"""MobileViM, the backbone of LGM-Pose (arXiv 2506.04561)."""
from math import prod
from typing import Any, Dict, Sequence, Tuple

import torch.nn as nn
from mmcv.cnn import ConvModule
from mmpose.models.backbones.mobilenet_v2 import InvertedResidual
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptConfigType, OptMultiConfig
from torch import Tensor

from ..layers import LARM, LinearBasicBlock
from .checked_backbone import CheckedBackbone


def _conv(c: int, k: int, stride: int = 1) -> dict:
    return dict(
        type='ConvModule',
        out_channels=c,
        kernel_size=k,
        stride=stride,
        padding=k // 2)


def _mv2(c: int, stride: int = 1, blocks: int = 1) -> dict:
    return dict(type='MV2', out_channels=c, stride=stride, num_blocks=blocks)


def _vim(d: int, p: int, **kwargs: Any) -> dict:
    return dict(kwargs, type='MobileViMBlock', embed_dims=d, patch_size=p)


def _vit(d: int, layers: int) -> dict:
    return dict(
        type='MobileViTBlock', embed_dims=d, patch_size=2, num_layers=layers)


def _xs(*blocks: dict) -> Tuple[dict, ...]:
    """MobileViT-XS's widths, with blocks at strides 8, 16 and 32."""
    return (_mv2(32), _mv2(48, 2), _mv2(48, blocks=2), _mv2(64, 2), blocks[0],
            _mv2(80, 2), blocks[1], _mv2(96, 2), blocks[2])


def _xs_vim(**kwargs: Any) -> Tuple[dict, ...]:
    """Layers of design A; ``kwargs`` change its blocks."""
    return _xs(*(dict(_vim(d, p), **kwargs)
                 for d, p in ((96, 4), (120, 2), (144, 2))))


_BLOCK = dict(type='LinearBasicBlock')

# The designs by name: arguments of MobileViM, those that differ from design A.
DESIGNS: Dict[str, Dict[str, Any]] = dict(
    a=dict(
        stem_channels=16,
        layers=_xs_vim(),
        expand_ratio=4,
        out_indices=(4, 5, 6, 7, 9),
        act_cfg=dict(type='SiLU')),
    # Two other readings of the paper, which fit its counts as well.
    l=dict(
        stem_channels=32,
        layers=(_mv2(32), _mv2(64, 2), _mv2(64, blocks=2), _mv2(96, 2),
                _vim(128, 4), _mv2(96, 2), _vim(192, 2), _mv2(96, 2)),
        expand_ratio=2,
        out_indices=(5, 7, 8)),
    b=dict(
        layers=(*_xs_vim(mlp_ratios=(2, 4)), _conv(128, 1)),
        out_indices=(5, 7, 10)),
    # Table 4 of the paper.
    mobilevit=dict(layers=_xs(_vit(96, 2), _vit(120, 4), _vit(144, 3))),
    # LARM left out, LARM as the paper's Equation (1) shows it, and FastLARM.
    no_larm=dict(layers=_xs_vim(patch_size=None)),
    no_residual=dict(layers=_xs_vim(residual=False)),
    fast_larm=dict(layers=_xs_vim(fast=True)),
    # For int8 engines, which fuse these with convolutions and not SiLU.
    relu=dict(act_cfg=dict(type='ReLU')),
    hswish=dict(act_cfg=dict(type='HSwish')),
    # LGM-Pose-Fast, for CPUs and int8, see docs/architecture.md.
    fast=dict(
        layers=(_BLOCK, _conv(32, 3, 2), _BLOCK, _conv(64, 3, 2), _BLOCK,
                _vim(96, 4, fast=True), _mv2(112, 2), _vim(144, 2, fast=True),
                _mv2(128, 2), _vim(192, 2, fast=True)),
        out_indices=(5, 6, 7, 8, 10)))


@MODELS.register_module()
class MobileViM(CheckedBackbone):
    """MobileViM backbone of `LGM-Pose <https://arxiv.org/abs/2506.04561>`_.

    A stride-2 stem, then the layers of the table: MobileNetV2's inverted
    residuals (MV2) and, from 1/8 on, a block that looks at the whole map
    (MobileViM, or MobileViT for the paper's Table 4). The paper's text leaves
    widths, expansion, patch sizes and depths open; the default, design A,
    reproduces its parameter and MAC counts with MobileViT-XS's widths.
    ``DESIGNS`` in this module holds the others.

    ==  ==============  =======  ======  ======================
    #   layer           output   stride  detail
    ==  ==============  =======  ======  ======================
    0   conv 3x3 stem   16       2
    1   MV2             32       1
    2   MV2             48       2
    3   MV2 x2          48       1
    4   MV2             64       2       skip ``a8``
    5   MobileViM       64       1       d=96, p=4, skip ``b8``
    6   MV2             80       2       skip ``a16``
    7   MobileViM       80       1       d=120, p=2, skip ``b16``
    8   MV2             96       2
    9   MobileViM       96       1       d=144, p=2
    ==  ==============  =======  ======  ======================

    Args:
        input_size (tuple[int, int]): Width and height of the input image, as
            a codec's ``input_size``, multiples of the last layer's stride.
            LARM's weights belong to one size; weights of another size are
            resized when they are loaded.
        arch (str): Name of a design: ``'a'``, ``'l'``, ``'b'``,
            ``'mobilevit'``, ``'no_larm'``, ``'no_residual'``,
            ``'fast_larm'``, ``'relu'``, ``'hswish'`` or ``'fast'``. Defaults
            to ``'a'``.
        in_channels (int): Channels of the image. Defaults to 3.
        stem_channels (int): Output channels of the stem. Defaults to the
            design's, as the next four.
        layers (Sequence[dict]): One dict per layer after the stem.
            ``type='MV2'`` takes ``out_channels``, and optionally ``stride``
            and ``num_blocks``; ``type='ConvModule'`` takes that class's
            arguments; ``type='LinearBasicBlock'`` needs none; any other type
            is a registered block that keeps channels and size, and gets
            ``in_channels``, ``feature_size``, ``norm_cfg`` and ``act_cfg``
            from here.
        expand_ratio (int): Expansion of the MV2 layers.
        out_indices (Sequence[int]): Numbers of the layers whose
            outputs are returned; 0 is the stem.
        act_cfg (dict, optional): Config of the activation layers.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        frozen_stages (int): Layers up to this number are frozen (no
            gradients, BatchNorm in eval mode); -1 freezes none. Defaults
            to -1.
        norm_eval (bool): Whether BatchNorm stays in eval mode. Defaults to
            ``False``.
        with_cp (bool): Whether training recomputes the layers' activations
            in the backward pass to save memory. BatchNorm then updates its
            statistics twice per step. Defaults to ``False``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to Kaiming for convolutions and Xavier for linear layers,
            since the paper trains from scratch.

    Raises:
        ValueError: If there is no such design, or ``input_size``,
            ``out_indices`` or ``frozen_stages`` does not fit the layers; from
            ``forward``, if an image is not of ``input_size``; on loading, if
            the weights are of another network.

    Example:
        >>> import torch
        >>> backbone = MobileViM(input_size=(192, 256)).eval()
        >>> for out in backbone(torch.rand(1, 3, 256, 192)):
        ...     print(tuple(out.shape))
        (1, 64, 32, 24)
        (1, 64, 32, 24)
        (1, 80, 16, 12)
        (1, 80, 16, 12)
        (1, 96, 8, 6)
    """

    default_init_cfg = [
        dict(type='Kaiming', layer='Conv2d'),
        dict(
            type='Xavier', layer=['Linear', 'Conv1d'], distribution='uniform'),
        dict(type='Constant', layer=['_BatchNorm', 'LayerNorm'], val=1)
    ]

    def __init__(self,
                 input_size: Tuple[int, int],
                 *,
                 arch: str = 'a',
                 in_channels: int = 3,
                 norm_cfg: ConfigType = dict(type='BN'),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 with_cp: bool = False,
                 init_cfg: OptMultiConfig = default_init_cfg,
                 **design):
        super().__init__(frozen_stages, norm_eval, with_cp, init_cfg)
        if arch not in DESIGNS:
            raise ValueError(
                f'arch must be one of {", ".join(DESIGNS)}, got {arch!r}')
        width, height = input_size
        self.image_shape = (in_channels, height, width)
        design = {**DESIGNS['a'], **DESIGNS[arch], **design}
        self._make_layers(norm_cfg, **design)
        self.freezable = list(self.layers)
        self.freeze_stages()

    def _make_layers(self, norm_cfg: ConfigType, stem_channels: int,
                     layers: Sequence[dict], expand_ratio: int,
                     out_indices: Sequence[int], act_cfg: OptConfigType):
        """Build the layers of a design."""
        self.out_indices = tuple(out_indices)
        if not all(0 <= index <= len(layers) for index in self.out_indices):
            raise ValueError(f'out_indices must be between 0 and '
                             f'{len(layers)}, got {self.out_indices}')
        layers = [_conv(stem_channels, 3, 2), *layers]
        stride = prod(layer.get('stride', 1) for layer in layers)
        channels, height, width = self.image_shape
        if min(width, height) <= 0 or width % stride or height % stride:
            raise ValueError(
                'the sides of input_size must be multiples of '
                f"{stride}, got {(width, height)}; set the codec's input_size "
                'and heatmap_size, and model.backbone.input_size, accordingly')
        self.expand_ratio = expand_ratio
        self.module_cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.layers = nn.ModuleList()
        stride = 1
        for layer in layers:
            stride *= layer.get('stride', 1)
            self.layers.append(
                self._make_layer(channels, (height // stride, width // stride),
                                 **layer))
            channels = layer.get('out_channels', channels)

    def _make_layer(self, in_channels: int, size: Tuple[int, int], type: str,
                    **kwargs) -> nn.Module:
        """Build one layer; ``size`` is its output's height and width."""
        if type == 'MV2':
            return self._make_mv2(in_channels, **kwargs)
        kwargs = dict(self.module_cfg, in_channels=in_channels, **kwargs)
        if type == 'ConvModule':
            return ConvModule(**kwargs)
        if type == 'LinearBasicBlock':
            return LinearBasicBlock(**kwargs)
        return MODELS.build(dict(kwargs, type=type, feature_size=size))

    def _make_mv2(self,
                  in_channels: int,
                  out_channels: int,
                  stride: int = 1,
                  num_blocks: int = 1) -> nn.Sequential:
        """Stack MobileNetV2's inverted residuals."""
        return nn.Sequential(*(InvertedResidual(
            out_channels if i else in_channels,
            out_channels,
            stride=1 if i else stride,
            expand_ratio=self.expand_ratio,
            **self.module_cfg) for i in range(num_blocks)))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract features.

        Args:
            x (Tensor): Images of shape ``(B, in_channels, H, W)``, of
                ``input_size``.

        Returns:
            tuple[Tensor]: Outputs of the layers ``out_indices``, each of
            shape ``(B, C, H / stride, W / stride)``.
        """
        x = self.prepare(x)
        outs = []
        for i, layer in enumerate(self.layers):
            x = self.run(layer, x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def fits(self, key: str, given: Tensor, own: Tensor) -> bool:
        """Whether a weight can be loaded, maybe resized, in place of one."""
        return LARM.resizes(key, given, own) or super().fits(key, given, own)
