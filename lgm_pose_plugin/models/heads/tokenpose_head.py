"""TokenPose's transformer, a heat-map head (arXiv 2104.03516)."""
import math
from typing import Any, Tuple

import torch
import torch.nn as nn
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor

from ..layers.transformer_layer import TransformerLayer
from .in_graph_decoding import InGraphDecoding


def sine_positions(height: int, width: int, embed_dims: int) -> Tensor:
    """Encode the places of a map by sines and cosines, as DETR does.

    Args:
        height (int): Height H of the map.
        width (int): Its width W.
        embed_dims (int): Length d of a code, a multiple of 4: half of it is
            for the row, half for the column.

    Returns:
        Tensor: The codes, of shape ``(H * W, d)``.
    """

    def encode(size: int) -> Tensor:
        places = torch.arange(1, size + 1) / (size + 1e-6) * 2 * math.pi
        pairs = torch.arange(embed_dims // 4) * 4 / embed_dims
        angles = places[:, None] / 10000**pairs  # (size, d/4)
        return torch.stack((angles.sin(), angles.cos()), 2).flatten(1)

    rows, columns = encode(height), encode(width)  # (H, d/2), (W, d/2)
    return torch.cat(
        (rows.repeat_interleave(width, 0), columns.repeat(height, 1)), 1)


class KeypointTokens(nn.Module):
    """Heat maps from tokens of key points among tokens of a map's patches.

    Symbols: B images, C channels of the map, H and W its size, p and q height
    and width of a patch, N = H/p * W/q patches, K key points, d length of a
    token.

    Args:
        in_channels (int): Channels of the map, C.
        num_keypoints (int): Number of key points, K.
        feature_size (tuple[int, int]): Width and height of the map, and of
            the heat maps.
        patch_size (tuple[int, int]): Width and height of a patch.
        embed_dims (int): Length of a token, d.
        num_layers (int): Number of transformer layers.
        num_heads (int): Number of attention heads.
        ffn_ratio (int): Hidden length of the feed-forward nets per d.
    """

    def __init__(self, in_channels: int, num_keypoints: int,
                 feature_size: Tuple[int, int], patch_size: Tuple[int, int], *,
                 embed_dims: int, num_layers: int, num_heads: int,
                 ffn_ratio: int):
        super().__init__()
        self.width, self.height = feature_size
        self.patch_width, self.patch_height = patch_size
        if self.width % self.patch_width or self.height % self.patch_height:
            raise ValueError(
                f'in_featuremap_size {tuple(feature_size)} must be a multiple '
                f'of patch_size {tuple(patch_size)}')
        if embed_dims % 4:
            raise ValueError(
                f'embed_dims must be a multiple of 4, got {embed_dims}')
        self.embed = nn.Linear(
            in_channels * self.patch_width * self.patch_height, embed_dims)
        self.tokens = nn.Parameter(torch.zeros(1, num_keypoints, embed_dims))
        nn.init.trunc_normal_(self.tokens, std=.02)
        self.register_buffer(
            'positions',
            sine_positions(self.height // self.patch_height,
                           self.width // self.patch_width, embed_dims),
            persistent=False)
        self.layers = nn.ModuleList(
            TransformerLayer(
                embed_dims, num_heads, ffn_ratio, nn.GELU(), qkv_bias=False)
            for _ in range(num_layers))
        pixels = self.width * self.height
        self.to_heatmaps = nn.Sequential(
            nn.LayerNorm(embed_dims), nn.Linear(embed_dims, pixels // 8),
            nn.LayerNorm(pixels // 8), nn.Linear(pixels // 8, pixels))

    def forward(self, x: Tensor) -> Tensor:
        """Predict heat maps.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Heat maps of shape ``(B, K, H, W)``.
        """
        if not torch.jit.is_tracing() and x.shape[2:] != (self.height,
                                                          self.width):
            raise ValueError(
                f'TokenPoseHead was built for maps of {self.height}x'
                f'{self.width}, got {x.shape[2]}x{x.shape[3]} (HxW); set '
                'in_featuremap_size to a quarter of the input size')
        B, C, H, W = x.shape
        p, q = self.patch_height, self.patch_width
        x = x.reshape(B, C, H // p, p, W // q, q)  # (B, C, H/p, p, W/q, q)
        x = x.permute(0, 2, 4, 3, 5, 1)  # (B, H/p, W/q, p, q, C)
        patches = self.embed(x.reshape(B, -1, p * q * C))  # (B, N, d)
        keypoints = self.tokens.expand(B, -1, -1)  # (B, K, d)
        K = keypoints.shape[1]
        for layer in self.layers:
            # Each layer is told the places of the patches anew.
            tokens = layer(
                torch.cat((keypoints, patches + self.positions), dim=1))
            keypoints, patches = tokens[:, :K], tokens[:, K:]
        return self.to_heatmaps(keypoints).reshape(B, K, H, W)


@MODELS.register_module()
class TokenPoseHead(InGraphDecoding, HeatmapHead):
    """Head of `TokenPose <https://arxiv.org/abs/2104.03516>`_.

    The last map is cut into patches. Each patch becomes a token, and each key
    point has a learnt one. A transformer lets all tokens look at each other;
    then a small net makes a heat map of each key point's token. The head
    belongs to one size of the map. For exported graphs see
    :class:`InGraphDecoding`.

    The layers follow the authors' repository, leeyegy/TokenPose, with its
    position encoding ``sine-full``.

    Args:
        in_channels (int): Channels of the last map.
        out_channels (int): Number K of key points.
        in_featuremap_size (tuple[int, int]): Width and height of the last
            map, and of the heat maps.
        patch_size (tuple[int, int]): Width and height of a patch. Defaults to
            ``(3, 4)``.
        embed_dims (int): Length of a token. Defaults to 192.
        num_layers (int): Number of transformer layers. Defaults to 12.
        num_heads (int): Number of attention heads. Defaults to 8.
        ffn_ratio (int): Hidden length of the feed-forward nets, as a multiple
            of ``embed_dims``. Defaults to 3.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to a truncated normal distribution for linear layers.
        **kwargs: Other arguments of ``HeatmapHead``: ``loss``, ``decoder``.

    Raises:
        ValueError: If the map cannot be cut into whole patches, or
            ``embed_dims`` is no multiple of 4 and ``num_heads``; from
            ``forward``, if the map is of another size.

    Example:
        >>> import torch
        >>> head = TokenPoseHead(32, 17, in_featuremap_size=(48, 64),
        ...     decoder=dict(type='MSRAHeatmap', input_size=(192, 256),
        ...                  heatmap_size=(48, 64), sigma=2))
        >>> feats = (torch.rand(1, 32, 64, 48), )
        >>> tuple(head(feats).shape)
        (1, 17, 64, 48)
        >>> head.switch_to_deploy()
        >>> [tuple(out.shape) for out in head(feats)]
        [(1, 17, 2), (1, 17)]
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 *,
                 in_featuremap_size: Tuple[int, int],
                 patch_size: Tuple[int, int] = (3, 4),
                 embed_dims: int = 192,
                 num_layers: int = 12,
                 num_heads: int = 8,
                 ffn_ratio: int = 3,
                 init_cfg: OptMultiConfig = dict(
                     type='TruncNormal', layer='Linear', std=.02),
                 **kwargs: Any):
        super().__init__(
            in_channels,
            out_channels,
            deconv_out_channels=None,
            final_layer=None,
            init_cfg=init_cfg,
            **kwargs)
        self.conv_layers = KeypointTokens(
            in_channels,
            out_channels,
            in_featuremap_size,
            patch_size,
            embed_dims=embed_dims,
            num_layers=num_layers,
            num_heads=num_heads,
            ffn_ratio=ffn_ratio)
