"""LARM for CPUs and int8, the block of LGM-Pose-Fast."""
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from .larm import LARM


class ConvMLP(nn.Module):
    """The MLP of FastLARM: two 1x1 convolutions with a ReLU between them.

    Args:
        num_features (int): Length n of the first axis after the batch.
        mlp_ratio (int): Hidden length as a multiple of n.
        residual (bool): Whether the input is added to the output.
    """

    def __init__(self, num_features: int, mlp_ratio: int, residual: bool):
        super().__init__()
        self.residual = residual
        self.fc1 = nn.Conv1d(num_features, mlp_ratio * num_features, 1)
        self.act = nn.ReLU()
        self.fc2 = nn.Conv1d(mlp_ratio * num_features, num_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix axis 1 of ``x``; the shape stays ``(B, n, length)``."""
        out = self.fc2(self.act(self.fc1(x)))
        return x + out if self.residual else out


class FastLARM(LARM):
    """LARM with one unfold, one fold and no LayerNorm.

    It mixes as :class:`LARM` does, the N patches at every channel and pixel
    position and then the P pixels of every channel and patch, but both MLPs
    work on a middle axis of one layout, ``(B, N, P, d)``. With the channels
    last, unfolding moves runs of ``w * d`` values, and a network in
    channels_last memory needs no other transposition. There is no LayerNorm
    (the BatchNorm of the convolution before it normalizes already), and ReLU
    in place of GELU, so that both MLPs can be quantized.

    The arguments are those of :class:`LARM`, whose resizing of weights it
    shares.

    Example:
        >>> import torch
        >>> larm = FastLARM(feature_size=(32, 24), patch_size=(4, 4))
        >>> tuple(larm(torch.rand(2, 96, 32, 24)).shape)
        (2, 96, 32, 24)
    """

    mlp_type = ConvMLP

    def forward(self, x: Tensor) -> Tensor:
        """Mix the whole map.

        Args:
            x (Tensor): Input of shape ``(B, d, H, W)``, before padding.

        Returns:
            Tensor: Output of the same shape.
        """
        B, d, height, width = x.shape
        (rows, cols), (h, w) = self.grid_size, self.patch_size
        if sum(self.padding) > 0:
            x = F.pad(x, self.padding, mode='replicate')
        # (B, d, H, W) -> (B, N, P * d)
        x = x.permute(0, 2, 3, 1).reshape(B, rows, h, cols, w * d)
        x = x.transpose(2, 3).reshape(B, rows * cols, h * w * d)
        x = self.patch_mlp(x)
        # (B, N, P * d) -> (B * N, P, d)
        x = self.pixel_mlp(x.reshape(B * rows * cols, h * w, d))
        # (B * N, P, d) -> (B, d, H, W), in channels_last memory
        x = x.reshape(B, rows, cols, h, w * d).transpose(2, 3)
        x = x.reshape(B, rows * h, cols * w, d).permute(0, 3, 1, 2)
        return x[:, :, :height, :width]
