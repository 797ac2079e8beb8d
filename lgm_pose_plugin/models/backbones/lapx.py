"""LAPX and LAP, lightweight stacked hourglasses (arXiv 2512.16089)."""
from typing import Optional, Sequence, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule, ModuleList, Sequential
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptConfigType, OptMultiConfig
from torch import Tensor

from ..layers import DWBottleneck
from .checked_backbone import CheckedBackbone

AttentionConfig = Union[OptConfigType, Sequence[OptConfigType]]


def build_attention(cfg: OptConfigType, channels: int) -> nn.Module:
    """Build an attention layer for maps of ``channels``; ``None`` is none."""
    return nn.Identity() if cfg is None else MODELS.build(
        dict(cfg, in_channels=channels))


class Hourglass(BaseModule):
    """Hourglass of DWBottlenecks, `arXiv 1603.06937, Sec. 3.1
    <https://arxiv.org/abs/1603.06937>`_ with attention at its neck.

    A map with an odd side is pooled to the next larger size; the map that
    comes back is cropped (inferred).

    Args:
        channels (int): Channels of all maps.
        depth (int): How many times the map is halved.
        neck_attention (dict, optional): Config of the attention layer at the
            lowest resolution.
        block_cfg (dict): Arguments of :class:`DWBottleneck`.
    """

    def __init__(self, channels: int, depth: int,
                 neck_attention: OptConfigType, block_cfg: dict):
        super().__init__()
        self.lateral = DWBottleneck(channels, channels, **block_cfg)
        self.down = Sequential(
            nn.MaxPool2d(2, ceil_mode=True),
            DWBottleneck(channels, channels, **block_cfg))
        if depth > 1:
            self.inner = Hourglass(channels, depth - 1, neck_attention,
                                   block_cfg)
        else:
            self.inner = Sequential(
                DWBottleneck(channels, channels, **block_cfg),
                build_attention(neck_attention, channels))
        self.up = DWBottleneck(channels, channels, **block_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Forward the hourglass; the shape stays ``(B, channels, H, W)``."""
        lateral = self.lateral(x)
        y = self.up(self.inner(self.down(x)))
        # Repeats each pixel twice, and leaves out the last of an odd side.
        return lateral + F.interpolate(y, x.shape[2:], mode='nearest')


class Stage(BaseModule):
    """One stage: a feature map, heat maps from it, and both fed back.

    Args:
        channels (int): Channels of the feature maps.
        num_keypoints (int): Number K of heat maps.
        depth (int): Depth of the hourglass.
        neck_attention (dict, optional): Config of the attention layer at the
            hourglass's neck.
        post_attention (dict, optional): Config of the attention layer of the
            feature map.
        soft_gate (bool): Whether the hourglass's blocks are gated.
        is_last (bool): Whether nothing is fed back.
        block_cfg (dict): Other arguments of :class:`DWBottleneck`.
    """

    def __init__(self, channels: int, num_keypoints: int, *, depth: int,
                 neck_attention: OptConfigType, post_attention: OptConfigType,
                 soft_gate: bool, is_last: bool, block_cfg: dict):
        # Heat maps start near 0, as in MMPose's heat-map heads.
        super().__init__(
            dict(type='Normal', std=0.001, override=dict(name='score')))
        self.features = Sequential(
            Hourglass(channels, depth, neck_attention,
                      dict(block_cfg, soft_gate=soft_gate)),
            DWBottleneck(channels, channels, soft_gate=False, **block_cfg),
            nn.Conv2d(channels, channels, 1, bias=block_cfg['conv_bias']),
            build_norm_layer(block_cfg['norm_cfg'], channels)[1],
            build_activation_layer(block_cfg['act_cfg']),
            build_attention(post_attention, channels))
        self.score = nn.Conv2d(channels, num_keypoints, 1)
        if not is_last:
            self.remap_features = nn.Conv2d(channels, channels, 1)
            self.remap_scores: Optional[nn.Conv2d] = nn.Conv2d(
                num_keypoints, channels, 1)
        self.is_last = is_last

    def forward(self, x: Tensor) -> Tuple[Tensor, Optional[Tensor]]:
        """Forward the stage.

        Args:
            x (Tensor): Map of shape ``(B, channels, H, W)``.

        Returns:
            tuple[Tensor, Tensor or None]: Heat maps of shape ``(B, K, H, W)``
            and the next stage's input, of the shape of ``x``.
        """
        features = self.features(x)
        scores = self.score(features)
        if self.is_last:
            return scores, None
        x = x + self.remap_features(features)
        if self.remap_scores is not None:
            x = x + self.remap_scores(scores)
        return scores, x

    @torch.no_grad()
    def fold_scores(self) -> None:
        """Let ``remap_features`` do the work of ``remap_scores``, for export.

        Both convolutions of 1x1 are linear in the features. Heat maps that
        are fed back and nothing else then need not be computed.
        """
        if self.is_last or self.remap_scores is None:
            return
        C = self.score.in_channels
        probes = torch.cat((torch.zeros(1, C), torch.eye(C)))[..., None, None]
        # (1 + C, C, 1, 1): the bias, and it with each row of the weights.
        out = self.remap_scores(self.score(probes.to(self.score.weight)))
        self.remap_features.weight += (out[1:] - out[:1]).transpose(0, 1)
        self.remap_features.bias += out[0].flatten()
        self.remap_scores = None


@MODELS.register_module()
class LAPX(CheckedBackbone):
    r"""Stacked hourglasses of `LAPX <https://arxiv.org/abs/2512.16089>`_.

    A stem to a quarter of the resolution, then hourglasses whose heat maps
    are fed back to the next one. The layers that predict heat maps therefore
    belong to the backbone; use :class:`LAPXHead` or MMPose's
    :class:`CPMHead` without layers of its own behind it.

    ================  =====================================  ======  ======
    part              layers                                 output  stride
    ================  =====================================  ======  ======
    stem              conv 7x7, BN, ELU                      c/4     2
    \                 DWBottleneck, max pool                 c/2     4
    \                 2 DWBottlenecks, ``stem_attention``    c       4
    stage, 3 times    hourglass of 13 soft-gated             c       4
                      DWBottlenecks, ``neck_attention`` at
                      the lowest resolution
    \                 DWBottleneck, conv 1x1, BN, ELU,       c       4
                      ``post_attention``
    \                 score: conv 1x1                        K       4
    ================  =====================================  ======  ======

    `LAP <https://arxiv.org/abs/2412.06227>`_, the predecessor, is
    ``LAPX(channels=256, num_stages=2, stem_attention=None,
    post_attention=dict(type='LAPXCBAM'), neck_attention=dict(type='LAPXCBAM'),
    soft_gate=False, conv_bias=True)``. Where its attention sits is inferred.

    Any image size works. Sides that are multiples of 64 need no padding; for
    others see :class:`Hourglass`.

    Args:
        num_keypoints (int): Number K of key points.
        in_channels (int): Channels of the image. Defaults to 3.
        channels (int): Width of the network, c. Defaults to 208.
        num_stages (int): Number of stages. Defaults to 3.
        depth (int): How many times an hourglass halves its map. Defaults
            to 4.
        stem_attention (dict, optional): Config of the attention layer after
            the stem; a registered layer that takes ``in_channels``.
        post_attention (dict or Sequence[dict], optional): Config of the
            attention layer before each stage's scores: one for all stages, or
            one per stage.
        neck_attention (dict or Sequence[dict] or str, optional): As
            ``post_attention``, for the neck of the hourglasses. Defaults to
            ``'default'``: :class:`ECANonLocal` in the first and last stage
            and :class:`ECA` between.
        soft_gate (bool): Whether the hourglasses' skips are gated. Defaults
            to ``True``.
        conv_bias (bool): Whether convolutions followed by a BN have a bias.
            Defaults to ``False``.
        frozen_stages (int): The stem (0) and the stages up to this number
            (1, ...) are frozen (no gradients, BatchNorm in eval mode); -1
            freezes none. Defaults to -1.
        norm_eval (bool): Whether BatchNorm stays in eval mode. Defaults to
            ``False``.
        with_cp (bool): Whether training recomputes the activations of stem
            and stages in the backward pass to save memory. BatchNorm then
            updates its statistics twice per step. Defaults to ``False``.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict): Config of the activation layers. Defaults to
            ``dict(type='ELU', inplace=True)``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to Kaiming for the convolutions.

    Raises:
        ValueError: If an attention is not a config, or given per stage but not
            for every stage, or ``frozen_stages`` is out of range; from
            ``forward``, if the input does not have ``in_channels``; on
            loading, if the weights are of another network.

    Example:
        >>> import torch
        >>> backbone = LAPX(num_keypoints=17).eval()
        >>> for out in backbone(torch.rand(1, 3, 256, 192)):
        ...     print(tuple(out.shape))
        (1, 17, 64, 48)
        (1, 17, 64, 48)
        (1, 17, 64, 48)
    """

    default_init_cfg = [
        dict(type='Kaiming', layer='Conv2d'),
        dict(type='Constant', layer='_BatchNorm', val=1)
    ]

    def __init__(self,
                 num_keypoints: int,
                 *,
                 in_channels: int = 3,
                 channels: int = 208,
                 num_stages: int = 3,
                 depth: int = 4,
                 stem_attention: OptConfigType = dict(type='ECACBAM'),
                 post_attention: AttentionConfig = dict(type='ECACBAM'),
                 neck_attention: Union[str, AttentionConfig] = 'default',
                 soft_gate: bool = True,
                 conv_bias: bool = False,
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 with_cp: bool = False,
                 norm_cfg: ConfigType = dict(type='BN'),
                 act_cfg: ConfigType = dict(type='ELU', inplace=True),
                 init_cfg: OptMultiConfig = default_init_cfg):
        super().__init__(frozen_stages, norm_eval, with_cp, init_cfg)
        self.image_shape = (in_channels, 'H', 'W')
        post_attention = self._per_stage('post_attention', post_attention,
                                         num_stages)
        if neck_attention == 'default':
            neck_attention = [dict(type='LAPXECA')] * num_stages
            neck_attention[0] = neck_attention[-1] = dict(type='ECANonLocal')
        neck_attention = self._per_stage('neck_attention', neck_attention,
                                         num_stages)
        block_cfg = dict(
            conv_bias=conv_bias, norm_cfg=norm_cfg, act_cfg=act_cfg)
        ungated = dict(block_cfg, soft_gate=False)
        self.stem = Sequential(
            nn.Conv2d(in_channels, channels // 4, 7, 2, 3, bias=conv_bias),
            build_norm_layer(norm_cfg, channels // 4)[1],
            build_activation_layer(act_cfg),
            DWBottleneck(channels // 4, channels // 2, **ungated),
            nn.MaxPool2d(2, ceil_mode=True),
            DWBottleneck(channels // 2, channels, **ungated),
            DWBottleneck(channels, channels, **ungated),
            build_attention(stem_attention, channels))
        self.stages = ModuleList([
            Stage(
                channels,
                num_keypoints,
                depth=depth,
                neck_attention=neck_attention[i],
                post_attention=post_attention[i],
                soft_gate=soft_gate,
                is_last=i == num_stages - 1,
                block_cfg=block_cfg) for i in range(num_stages)
        ])
        self.freezable = [self.stem, *self.stages]
        self.freeze_stages()

    @staticmethod
    def _per_stage(name: str, cfg: AttentionConfig,
                   num_stages: int) -> Sequence[OptConfigType]:
        """One attention config per stage."""
        if cfg is None or isinstance(cfg, dict):
            return [cfg] * num_stages
        if isinstance(cfg, str) or len(cfg) != num_stages:
            raise ValueError(f'{name} must be one config, or one for each of '
                             f'{num_stages} stages, got {cfg!r}')
        return cfg

    def fits(self, key: str, given: Tensor, own: Tensor) -> bool:
        """Whether a weight can be loaded, or left out, in place of one.

        To fine-tune for other key points, MMEngine leaves out, with a
        warning, the layers from and to heat maps, as it does with heads.
        """
        return '.score.' in key or '.remap_scores.' in key or super().fits(
            key, given, own)

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Predict heat maps.

        Args:
            x (Tensor): Images of shape ``(B, in_channels, H, W)``.

        Returns:
            tuple[Tensor]: Heat maps of every stage, each of shape
            ``(B, K, H / 4, W / 4)``, rounded up.
        """
        x = self.run(self.stem, self.prepare(x))
        heatmaps = []
        for stage in self.stages:
            scores, x = self.run(stage, x)
            heatmaps.append(scores)
        return tuple(heatmaps)
