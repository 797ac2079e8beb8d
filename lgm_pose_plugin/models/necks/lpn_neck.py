"""The deconvolutions of LPN (arXiv 1911.10346)."""
from math import gcd
from typing import Sequence, Tuple

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor


@MODELS.register_module()
class LPNNeck(BaseModule):
    """Neck of `LPN <https://arxiv.org/abs/1911.10346>`_.

    Each step doubles the size of the map by a deconvolution with as many
    groups as its channels allow, and mixes the channels by a 1x1 convolution.

    Args:
        in_channels (int): Channels of the backbone's last map.
        deconv_channels (Sequence[int]): Output channels of each step. Defaults
            to ``(256, 256)``.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict): Config of the activation layers. Defaults to
            ``dict(type='ReLU')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to MMPose's for deconvolutions.

    Example:
        >>> import torch
        >>> neck = LPNNeck(512).eval()
        >>> [tuple(out.shape) for out in neck([torch.rand(1, 512, 16, 12)])]
        [(1, 256, 64, 48)]
    """

    def __init__(self,
                 in_channels: int,
                 deconv_channels: Sequence[int] = (256, 256),
                 norm_cfg: ConfigType = dict(type='BN'),
                 act_cfg: ConfigType = dict(type='ReLU'),
                 init_cfg: OptMultiConfig = [
                     dict(
                         type='Normal',
                         layer=['Conv2d', 'ConvTranspose2d'],
                         std=0.001),
                     dict(type='Constant', layer='_BatchNorm', val=1)
                 ]):
        super().__init__(init_cfg)
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        steps = []
        for out_channels in deconv_channels:
            steps += [
                ConvModule(
                    in_channels,
                    out_channels,
                    4,
                    stride=2,
                    padding=1,
                    groups=gcd(in_channels, out_channels),
                    conv_cfg=dict(type='deconv'),
                    **cfg),
                ConvModule(out_channels, out_channels, 1, **cfg)
            ]
            in_channels = out_channels
        self.steps = Sequential(*steps)

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor]:
        """Enlarge the last map.

        Args:
            feats (Sequence[Tensor]): Maps of the backbone, the last of shape
                ``(B, in_channels, H, W)``.

        Returns:
            tuple[Tensor]: One map of shape ``(B, C, 4H, 4W)`` for two steps.
        """
        return (self.steps(feats[-1]), )
