"""The MobileViT block (arXiv 2110.02178), for LGM-Pose's Table 4."""
from typing import Tuple

import torch.nn as nn
import torch.nn.functional as F
from mmpose.registry import MODELS
from mmpose.utils.typing import ConfigType
from torch import Tensor

from .mobilevim_block import GlobalBlock
from .transformer_layer import TransformerLayer


@MODELS.register_module()
class MobileViTBlock(GlobalBlock):
    """MobileViT block, the alternative of LGM-Pose's Table 4.

    Tokens are the pixels at the same place of every patch, as in the original
    (arXiv 2110.02178, Sec. 3.1). Unlike LARM it has no weights that depend on
    the size of the map.

    Args:
        in_channels (int): Channels of input and output, C.
        feature_size (tuple[int, int]): Height and width of the input map.
        embed_dims (int): Channels of a token, d.
        patch_size (int): Height and width of a patch.
        num_layers (int): Number of transformer layers, L.
        fusion_kernel_size (int): Kernel of the last convolution. Defaults
            to 3.
        norm_cfg (dict): Config of the convolutions' normalization layers.
            Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the convolutions' activation layers.
            Defaults to ``dict(type='SiLU')``.

    Example:
        >>> import torch
        >>> block = MobileViTBlock(64, feature_size=(32, 24), embed_dims=96,
        ...                        patch_size=2, num_layers=2)
        >>> tuple(block(torch.rand(2, 64, 32, 24)).shape)
        (2, 64, 32, 24)
    """

    def __init__(self,
                 in_channels: int,
                 feature_size: Tuple[int, int],
                 *,
                 embed_dims: int,
                 patch_size: int,
                 num_layers: int,
                 fusion_kernel_size: int = 3,
                 norm_cfg: ConfigType = dict(type='BN'),
                 act_cfg: ConfigType = dict(type='SiLU')):
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        transformer = nn.Sequential(
            *(TransformerLayer(embed_dims, 4, 2, nn.SiLU())
              for _ in range(num_layers)), nn.LayerNorm(embed_dims))
        super().__init__(
            in_channels,
            embed_dims,
            fusion_kernel_size,
            cfg,
            transformer=transformer)
        self.patch_size = patch_size
        self.padding = (0, -feature_size[1] % patch_size, 0,
                        -feature_size[0] % patch_size)

    def mix(self, x: Tensor) -> Tensor:
        """Run the transformer over each pixel position's N tokens."""
        height, width = x.shape[-2:]
        if any(self.padding):
            x = F.pad(x, self.padding, mode='replicate')
        B, d, H, W = x.shape
        p = self.patch_size
        x = x.reshape(B, d, H // p, p, W // p, p)  # (B, d, H/p, p, W/p, p)
        x = x.permute(0, 3, 5, 2, 4, 1)  # (B, p, p, H/p, W/p, d)
        x = x.reshape(B * p * p, -1, d)  # (B * P, N, d)
        x = self.transformer(x)
        x = x.reshape(B, p, p, H // p, W // p, d)  # (B, p, p, H/p, W/p, d)
        x = x.permute(0, 3, 1, 4, 2, 5)  # (B, H/p, p, W/p, p, d)
        x = x.reshape(B, H, W, d)
        # (B, d, H, W), in channels_last memory
        return x.permute(0, 3, 1, 2)[..., :height, :width]
