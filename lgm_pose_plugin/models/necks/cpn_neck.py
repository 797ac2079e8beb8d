"""GlobalNet and RefineNet of CPN (arXiv 1711.07319)."""
from typing import Any, Sequence, Tuple

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList, Sequential
from mmpose.models.backbones.resnet import Bottleneck
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor


def upsample(scale: int) -> nn.Module:
    """Enlarge a map bilinearly; its corners stay where they are."""
    return nn.Identity() if scale == 1 else nn.Upsample(
        scale_factor=scale, mode='bilinear', align_corners=True)


@MODELS.register_module()
class CPNNeck(BaseModule):
    """Both stages of the `Cascaded Pyramid Network
    <https://arxiv.org/abs/1711.07319>`_, behind a backbone of four maps.

    GlobalNet is a feature pyramid; each of its levels predicts heat maps,
    which only the loss looks at. RefineNet takes the same levels through
    bottlenecks, the more the smaller the map, enlarges and concatenates them
    and predicts the heat maps. Since both stages predict, the layers that do
    so belong to the neck; use :class:`LAPXHead` or MMPose's :class:`CPMHead`
    without layers of its own behind it. With ResNet-50 at 256x192 input
    (HxW), C channels and K key points:

    ======  =====  =====================  ==============
    level   size   GlobalNet              RefineNet
    ======  =====  =====================  ==============
    1/32    8x6    lateral                3 bottlenecks
    1/16    16x12  lateral + level above  2 bottlenecks
    1/8     32x24  lateral + level above  1 bottleneck
    1/4     64x48  lateral + level above  none
    all     64x48  heat maps, K each      4C, bottleneck,
                                          heat maps, K
    ======  =====  =====================  ==============

    The layers follow the authors' repository, chenyilun95/tf-cpn.

    Args:
        in_channels (Sequence[int]): Channels of each backbone map, from the
            largest map to the smallest; each map is half as large as the one
            before.
        num_keypoints (int): Number K of key points.
        channels (int): Channels C of the pyramid, an even number. Defaults
            to 256.
        norm_cfg (dict): Config of the normalization layers. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to Kaiming for convolutions.

    Example:
        >>> import torch
        >>> neck = CPNNeck((256, 512, 1024, 2048), num_keypoints=17).eval()
        >>> feats = [torch.rand(1, 256 * 2**i, 64 // 2**i, 48 // 2**i)
        ...          for i in range(4)]
        >>> for out in neck(feats):
        ...     print(tuple(out.shape))
        (1, 17, 64, 48)
        (1, 17, 64, 48)
        (1, 17, 64, 48)
        (1, 17, 64, 48)
        (1, 17, 64, 48)
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 num_keypoints: int,
                 channels: int = 256,
                 norm_cfg: ConfigType = dict(type='BN'),
                 init_cfg: OptMultiConfig = [
                     dict(type='Kaiming', layer='Conv2d'),
                     dict(type='Constant', layer='_BatchNorm', val=1)
                 ]):
        super().__init__(init_cfg)
        levels = range(len(in_channels))

        def conv(width: int, out_channels: int, kernel_size: int,
                 **kwargs: Any) -> ConvModule:
            return ConvModule(
                width,
                out_channels,
                kernel_size,
                padding=kernel_size // 2,
                norm_cfg=norm_cfg,
                **kwargs)

        def bottleneck(width: int) -> Bottleneck:
            return Bottleneck(
                width,
                channels,
                expansion=2,
                downsample=None if width == channels else conv(
                    width, channels, 1, act_cfg=None),
                norm_cfg=norm_cfg)

        self.laterals = ModuleList(
            conv(width, channels, 1) for width in in_channels)
        # Of level i + 1, to level i.
        self.merges = ModuleList(
            Sequential(upsample(2), nn.Conv2d(channels, channels, 1))
            for _ in levels[1:])
        self.global_heatmaps = ModuleList(
            Sequential(
                conv(channels, channels, 1),
                conv(channels, num_keypoints, 3, act_cfg=None), upsample(2**i))
            for i in levels)
        self.refine = ModuleList(
            Sequential(*(bottleneck(channels)
                         for _ in range(i)), upsample(2**i)) for i in levels)
        self.heatmaps = Sequential(
            bottleneck(len(levels) * channels),
            conv(channels, num_keypoints, 3, act_cfg=None))

    def forward(self, feats: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Predict heat maps.

        Args:
            feats (Sequence[Tensor]): Backbone maps of shape
                ``(B, in_channels[i], H / 2**i, W / 2**i)``.

        Returns:
            tuple[Tensor]: Heat maps of shape ``(B, K, H, W)``: GlobalNet's,
            from the smallest level to the largest, then RefineNet's.
        """
        pyramid = [lateral(x) for lateral, x in zip(self.laterals, feats)]
        for i in reversed(range(len(pyramid) - 1)):
            pyramid[i] = pyramid[i] + self.merges[i](pyramid[i + 1])
        stages = [
            predict(x) for predict, x in zip(self.global_heatmaps, pyramid)
        ][::-1]
        refined = [refine(x) for refine, x in zip(self.refine, pyramid)]
        return (*stages, self.heatmaps(torch.cat(refined, dim=1)))
