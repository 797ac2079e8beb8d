"""LARM for CPUs and int8, the block of LGM-Pose-Fast."""
import torch.nn as nn
from torch import Tensor

from .larm import LARM, MLP


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

    @staticmethod
    def make_mlp(length: int, ratio: int, residual: bool) -> MLP:
        """Build the MLP over axis 1; the hidden length is a multiple."""
        return MLP(nn.Identity(), nn.Conv1d(length, ratio * length, 1),
                   nn.ReLU(), nn.Conv1d(ratio * length, length, 1), residual)

    def mix(self, x: Tensor) -> Tensor:
        """Mix a map of whole patches; the shape stays ``(B, d, H, W)``."""
        B, d = x.shape[:2]
        (rows, cols), (h, w) = self.grid_size, self.patch_size
        x = x.permute(0, 2, 3, 1)  # (B, H, W, d)
        x = x.reshape(B, rows, h, cols, w * d)  # (B, H/h, h, W/w, w * d)
        x = x.transpose(2, 3)  # (B, H/h, W/w, h, w * d)
        x = x.reshape(B, rows * cols, h * w * d)  # (B, N, P * d)
        x = self.patch_mlp(x)
        x = x.reshape(B * rows * cols, h * w, d)  # (B * N, P, d)
        x = self.pixel_mlp(x)
        x = x.reshape(B, rows, cols, h, w * d)  # (B, H/h, W/w, h, w * d)
        x = x.transpose(2, 3)  # (B, H/h, h, W/w, w * d)
        x = x.reshape(B, rows * h, cols * w, d)  # (B, H, W, d)
        return x.permute(0, 3, 1, 2)  # (B, d, H, W), in channels_last memory
