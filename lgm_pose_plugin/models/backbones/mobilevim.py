"""MobileViM, the backbone of LGM-Pose (arXiv 2506.04561)."""
from math import prod
from typing import Sequence, Tuple

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmpose.models.backbones.mobilenet_v2 import InvertedResidual
from mmpose.models.backbones.resnet import BasicBlock
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor

from .. import layers as _  # noqa: F401, registers the blocks
from .checked_backbone import CheckedBackbone, channels_last


@MODELS.register_module()
class MobileViM(CheckedBackbone):
    """MobileViM backbone of `LGM-Pose <https://arxiv.org/abs/2506.04561>`_.

    A stride-2 stem, then the layers of the table: MobileNetV2's inverted
    residuals (MV2) and, from 1/8 on, a block that looks at the whole map
    (MobileViM, or MobileViT for the paper's Table 4). The paper's text leaves
    widths, expansion, patch sizes and depths open; the default, design A,
    reproduces its parameter and MAC counts with MobileViT-XS's widths.

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
        stem_channels (int): Output channels of the stem. Defaults to 16.
        layers (Sequence[dict]): One dict per layer after the stem, see
            :attr:`design_a`. ``type='MV2'`` takes ``out_channels``, and
            optionally ``stride`` and ``num_blocks``; ``type='ConvModule'``
            takes that class's arguments; ``type='BasicBlock'`` is ResNet's,
            ``num_blocks`` of them; any other type is a registered
            block that keeps channels and size, and gets ``in_channels``,
            ``feature_size``, ``norm_cfg`` and ``act_cfg`` from here.
        expand_ratio (int): Expansion of the MV2 layers. Defaults to 4.
        out_indices (Sequence[int]): Numbers of the layers whose outputs are
            returned; 0 is the stem. Defaults to ``(4, 5, 6, 7, 9)``.
        frozen_stages (int): Layers up to this number are frozen (no
            gradients, BatchNorm in eval mode); -1 freezes none. Defaults
            to -1.
        norm_eval (bool): Whether BatchNorm stays in eval mode. Defaults to
            ``False``.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict): Config of the activation layers. Defaults to
            ``dict(type='SiLU')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to Kaiming for convolutions and Xavier for linear layers,
            since the paper trains from scratch.

    Raises:
        ValueError: If ``input_size``, ``out_indices`` or ``frozen_stages``
            does not fit the layers; from ``forward``, if an image is not of
            ``input_size``; on loading, if the weights are of another network.

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

    design_a = (
        dict(type='MV2', out_channels=32),
        dict(type='MV2', out_channels=48, stride=2),
        dict(type='MV2', out_channels=48, num_blocks=2),
        dict(type='MV2', out_channels=64, stride=2),
        dict(type='MobileViMBlock', embed_dims=96, patch_size=4),
        dict(type='MV2', out_channels=80, stride=2),
        dict(type='MobileViMBlock', embed_dims=120, patch_size=2),
        dict(type='MV2', out_channels=96, stride=2),
        dict(type='MobileViMBlock', embed_dims=144, patch_size=2),
    )

    default_init_cfg = [
        dict(type='Kaiming', layer='Conv2d'),
        dict(
            type='Xavier', layer=['Linear', 'Conv1d'], distribution='uniform'),
        dict(type='Constant', layer=['_BatchNorm', 'LayerNorm'], val=1)
    ]

    def __init__(self,
                 input_size: Tuple[int, int],
                 *,
                 stem_channels: int = 16,
                 layers: Sequence[dict] = design_a,
                 expand_ratio: int = 4,
                 out_indices: Sequence[int] = (4, 5, 6, 7, 9),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 norm_cfg: ConfigType = dict(type='BN'),
                 act_cfg: ConfigType = dict(type='SiLU'),
                 init_cfg: OptMultiConfig = default_init_cfg):
        super().__init__(frozen_stages, norm_eval, init_cfg)
        if not all(0 <= index <= len(layers) for index in out_indices):
            raise ValueError(f'out_indices must be between 0 and '
                             f'{len(layers)}, got {tuple(out_indices)}')
        self.input_size = tuple(input_size)
        self.out_indices = tuple(out_indices)
        self.expand_ratio = expand_ratio
        self.module_cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)

        stride = 2 * prod(layer_cfg.get('stride', 1) for layer_cfg in layers)
        if any(side <= 0 or side % stride for side in input_size):
            raise ValueError(
                f'input_size must be a width and a height that are multiples '
                f'of {stride}, got {tuple(input_size)}; set the codec\'s '
                'input_size and heatmap_size, and model.backbone.input_size, '
                'accordingly')
        width, height = input_size
        size = (height // 2, width // 2)
        stem = ConvModule(
            3, stem_channels, 3, stride=2, padding=1, **self.module_cfg)
        self.layers = nn.ModuleList([stem])
        in_channels = stem_channels
        for layer_cfg in layers:
            stride = layer_cfg.get('stride', 1)
            size = (size[0] // stride, size[1] // stride)
            self.layers.append(
                self._make_layer(in_channels, size, **layer_cfg))
            in_channels = layer_cfg.get('out_channels', in_channels)
        self.freeze_stages()

    def _make_layer(self, in_channels: int, size: Tuple[int, int], type: str,
                    **kwargs) -> nn.Module:
        """Build one layer; ``size`` is its output's height and width."""
        if type == 'MV2':
            return self._make_mv2(in_channels, **kwargs)
        if type == 'ConvModule':
            return ConvModule(in_channels, **dict(self.module_cfg, **kwargs))
        if type == 'BasicBlock':
            return self._make_basic_blocks(in_channels, **kwargs)
        return MODELS.build(
            dict(
                self.module_cfg,
                type=type,
                in_channels=in_channels,
                feature_size=size,
                **kwargs))

    def _make_mv2(self,
                  in_channels: int,
                  out_channels: int,
                  stride: int = 1,
                  num_blocks: int = 1) -> nn.Sequential:
        """Stack MobileNetV2's inverted residuals."""
        return nn.Sequential(*(InvertedResidual(
            in_channels if i == 0 else out_channels,
            out_channels,
            stride=stride if i == 0 else 1,
            expand_ratio=self.expand_ratio,
            **self.module_cfg) for i in range(num_blocks)))

    def _make_basic_blocks(self, channels: int,
                           num_blocks: int) -> nn.Sequential:
        """Stack ResNet's basic blocks, whose activation is ReLU."""
        norm_cfg = self.module_cfg['norm_cfg']
        return nn.Sequential(
            *(BasicBlock(channels, channels, norm_cfg=norm_cfg)
              for i in range(num_blocks)))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract features.

        Args:
            x (Tensor): Images of shape ``(B, 3, H, W)``, of ``input_size``.

        Returns:
            tuple[Tensor]: Outputs of the layers ``out_indices``, each of
            shape ``(B, C, H / stride, W / stride)``.
        """
        width, height = self.input_size
        # A tracer sees tensors here and would warn of a constant comparison.
        if not torch.jit.is_tracing() and x.shape[1:] != (3, height, width):
            raise ValueError(
                f'MobileViM was built for 3 channels of {height}x{width} '
                f'(HxW), got an input of shape {tuple(x.shape)}. Set '
                "model.backbone.input_size to the codec's input_size; weights "
                'of another size are resized when they are loaded.')
        x = channels_last(x)
        outs = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    @property
    def freezable(self) -> Sequence[nn.Module]:
        """The parts that ``frozen_stages`` counts."""
        return self.layers

    def fits(self, key: str, given: Tensor, own: Tensor) -> bool:
        """Whether a weight can be loaded, maybe resized, in place of one."""
        if '.larm.patch_mlp.' in key and given.dim() == own.dim():
            # LARM resizes it to its input size if the MLP's ratio is the same.
            return (given.shape[0] * own.shape[:2][-1] == own.shape[0] *
                    given.shape[:2][-1])
        return super().fits(key, given, own)
