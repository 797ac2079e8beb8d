"""The transformer layer of MobileViT and TokenPose."""
import torch.nn as nn
from torch import Tensor


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer: self-attention, then a feed-forward net.

    The attention is written out in matrix products, so that MMEngine's
    counter sees them and every exporter knows them.

    Args:
        embed_dims (int): Length of a token, d.
        num_heads (int): Number h of attention heads.
        ffn_ratio (int): Hidden length of the feed-forward net per d.
        act (nn.Module): Its activation.
        qkv_bias (bool): Whether queries, keys and values have a bias.
            Defaults to ``True``.

    Raises:
        ValueError: If ``embed_dims`` is not a multiple of ``num_heads``.

    Example:
        >>> import torch
        >>> layer = TransformerLayer(192, 8, 3, nn.GELU(), qkv_bias=False)
        >>> tuple(layer(torch.rand(2, 273, 192)).shape)
        (2, 273, 192)
    """

    def __init__(self,
                 embed_dims: int,
                 num_heads: int,
                 ffn_ratio: int,
                 act: nn.Module,
                 qkv_bias: bool = True):
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims {embed_dims} must be a multiple of '
                             f'{num_heads}')
        self.num_heads = num_heads
        self.scale = (embed_dims // num_heads)**-0.5
        self.norm1 = nn.LayerNorm(embed_dims)
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.ffn = nn.Sequential(
            nn.Linear(embed_dims, ffn_ratio * embed_dims), act,
            nn.Linear(ffn_ratio * embed_dims, embed_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens; the shape stays ``(B, N, d)``."""
        B, N, d = x.shape
        h = self.num_heads
        qkv = self.qkv(self.norm1(x))  # (B, N, 3 * d)
        qkv = qkv.reshape(B, N, 3, h, d // h)
        qkv = qkv.permute(2, 0, 3, 1, 4)  # (3, B, h, N, d/h)
        query, key, value = qkv.unbind(0)
        attention = (query * self.scale) @ key.transpose(-2, -1)
        out = attention.softmax(dim=-1) @ value  # (B, h, N, d/h)
        out = out.transpose(1, 2).reshape(B, N, d)
        x = x + self.proj(out)
        return x + self.ffn(self.norm2(x))
