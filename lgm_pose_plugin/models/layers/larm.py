"""LARM, the global modelling block of LGM-Pose (arXiv 2506.04561)."""
from typing import Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from .resize_larm import resize_mlp


class MLP(nn.Module):
    """The MLP of LARM: LayerNorm, Linear, GELU, Linear over the last axis.

    Args:
        num_features (int): Length n of the last axis.
        mlp_ratio (int): Hidden length as a multiple of n.
        residual (bool): Whether the input is added to the output.
    """

    def __init__(self, num_features: int, mlp_ratio: int, residual: bool):
        super().__init__()
        self.residual = residual
        self.norm = nn.LayerNorm(num_features)
        self.fc1 = nn.Linear(num_features, mlp_ratio * num_features)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(mlp_ratio * num_features, num_features)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the last axis of ``x``; the shape stays ``(..., n)``."""
        out = self.fc2(self.act(self.fc1(self.norm(x))))
        return x + out if self.residual else out


class LARM(BaseModule):
    """The global modelling block of LGM-Pose, Equation (1).

    The map is cut into N patches of P pixels. One MLP mixes the N patches at
    every channel and pixel position (global), a second one the P pixels of
    every channel and patch (local). The paper's non-parametric
    transformations NPT-Op. 1, 2 and 3 lay the axes out for them; the MLPs act
    on the last axis only, so the order of the others is free and the channels
    stay in front, which saves a transposition.

    ====  ==================================================
    B     batch size
    d     channels
    H, W  height and width of the map, padded to whole patches
    h, w  height and width of a patch
    P     pixels of a patch, ``h * w``
    N     number of patches, ``H/h * W/w``
    ====  ==================================================

    The weights of the first MLP have one entry per patch, so they belong to
    one ``feature_size``. A state dict of another size is resized when it is
    loaded (:func:`.resize_mlp`); its buffer
    ``patch_grid``, rows and columns of patches, tells the size.

    Args:
        feature_size (tuple[int, int]): Height and width of the input map. If
            they are no multiples of the patch's, the map is padded right and
            bottom by replication and cropped after the last operation.
        patch_size (tuple[int, int]): Height and width of a patch.
        mlp_ratios (tuple[int, int]): Expansion of the MLP over the patches
            and of the MLP over the pixels. Defaults to ``(2, 2)``.
        residual (bool): Whether each MLP has a residual connection. Equation
            (1) shows none, but networks learn faster with it
            (docs/lsp_benchmark.md). Defaults to ``True``.

    Example:
        >>> import torch
        >>> larm = LARM(feature_size=(32, 24), patch_size=(4, 4))
        >>> tuple(larm(torch.rand(2, 96, 32, 24)).shape)
        (2, 96, 32, 24)
    """

    mlp_type = MLP
    # BaseModule's property cannot be compiled by torch.jit.script.
    __jit_unused_properties__ = ['is_init']

    def __init__(self,
                 feature_size: Tuple[int, int],
                 patch_size: Tuple[int, int],
                 mlp_ratios: Tuple[int, int] = (2, 2),
                 residual: bool = True):
        super().__init__()
        (height, width), (patch_h, patch_w) = feature_size, patch_size
        self.patch_size = (patch_h, patch_w)
        self.grid_size = (-(-height // patch_h), -(-width // patch_w))
        self.padding = [0, -width % patch_w, 0, -height % patch_h]
        self.patch_mlp = self.mlp_type(self.grid_size[0] * self.grid_size[1],
                                       mlp_ratios[0], residual)
        self.pixel_mlp = self.mlp_type(patch_h * patch_w, mlp_ratios[1],
                                       residual)
        self.register_buffer('patch_grid', torch.tensor(self.grid_size))
        self._register_load_state_dict_pre_hook(self._resize_state_dict)

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
        # NPT-Op. 1: (B, d, H, W) -> (B, d, P, N)
        x = x.reshape(B, d, rows, h, cols, w).permute(0, 1, 3, 5, 2, 4)
        x = self.patch_mlp(x.reshape(B, d, h * w, rows * cols))
        # NPT-Op. 2: (B, d, P, N) -> (B, d, N, P)
        x = self.pixel_mlp(x.transpose(2, 3))
        # NPT-Op. 3: (B, d, N, P) -> (B, d, H, W), in channels_last memory
        x = x.reshape(B, d, rows, cols, h, w).permute(0, 2, 4, 3, 5, 1)
        x = x.reshape(B, rows * h, cols * w, d).permute(0, 3, 1, 2)
        return x[:, :, :height, :width]

    def _resize_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Resize the weights over the patches if they are of another size.

        Raises:
            ValueError: If the weights are not those of a map of as many
                patches as ``patch_grid`` says.
        """
        if prefix + 'patch_grid' not in state_dict:
            return
        rows, cols = grid = tuple(state_dict[prefix + 'patch_grid'].tolist())
        mlp_prefix = prefix + 'patch_mlp.'
        patches = self.grid_size[0] * self.grid_size[1]
        own = self.patch_mlp.state_dict()
        given = {
            name: state_dict[mlp_prefix + name]
            for name in own if mlp_prefix + name in state_dict
        }
        for name, value in given.items():
            # Multiples of the number of patches.
            wanted = [
                side * rows * cols // patches for side in own[name].shape[:2]
            ]
            if rows < 1 or wanted != list(value.shape[:2]):
                raise ValueError(
                    f'{mlp_prefix}{name} has shape '
                    f'{tuple(value.shape)}, {rows}x{cols} patches '
                    f'({prefix}patch_grid) make {tuple(wanted)}. Check that '
                    'the checkpoint is whole')
        if grid == self.grid_size:
            return
        state_dict.update({
            mlp_prefix + name: value
            for name, value in resize_mlp(given, grid, self.grid_size,
                                          self.patch_mlp.act).items()
        })
        state_dict[prefix + 'patch_grid'] = self.patch_grid.clone()
        print_log(
            f'{prefix}patch_mlp: resized from {list(grid)} to '
            f'{list(self.grid_size)} patches (rows, columns)', 'current')
