"""LARM, the global modelling block of LGM-Pose (arXiv 2506.04561)."""
from math import prod
from typing import Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from .resize_larm import resize_mlp


class MLP(nn.Module):
    """The MLP of LARM: a normalization and two layers with an activation.

    Args:
        norm (nn.Module): The normalization.
        fc1 (nn.Module): The layer to the hidden values.
        act (nn.Module): The activation.
        fc2 (nn.Module): The layer from the hidden values.
        residual (bool): Whether the input is added to the output.
    """

    def __init__(self, norm: nn.Module, fc1: nn.Module, act: nn.Module,
                 fc2: nn.Module, residual: bool):
        super().__init__()
        self.residual = residual
        self.norm = norm
        self.fc1 = fc1
        self.act = act
        self.fc2 = fc2

    def forward(self, x: Tensor) -> Tensor:
        """Mix one axis of ``x``; the shape stays."""
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
            they are not multiples of the patch's, the map is padded right and
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
        self.patch_mlp = self.make_mlp(
            prod(self.grid_size), mlp_ratios[0], residual)
        self.pixel_mlp = self.make_mlp(
            prod(self.patch_size), mlp_ratios[1], residual)
        self.register_buffer('patch_grid', torch.tensor(self.grid_size))
        self._register_load_state_dict_pre_hook(self._resize_state_dict)

    @staticmethod
    def make_mlp(length: int, ratio: int, residual: bool) -> MLP:
        """Build the MLP over an axis; the hidden length is a multiple."""
        return MLP(
            nn.LayerNorm(length), nn.Linear(length, ratio * length), nn.GELU(),
            nn.Linear(ratio * length, length), residual)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the whole map.

        Args:
            x (Tensor): Input of shape ``(B, d, H, W)``, before padding.

        Returns:
            Tensor: Output of shape ``(B, d, H, W)``.
        """
        height, width = x.shape[2:]
        if sum(self.padding) > 0:
            x = self.pad(x)
        return self.mix(x)[:, :, :height, :width]

    def pad(self, x: Tensor) -> Tensor:
        """Pad a map to whole patches by its last column and row."""
        if not self.training:
            return F.pad(x, self.padding, mode='replicate')
        # torch.compile cannot take the gradient of replication in
        # channels_last (torch 2.9).
        _, right, _, bottom = self.padding
        x = torch.cat([x] + right * [x[..., -1:]], 3)
        return torch.cat([x] + bottom * [x[:, :, -1:]], 2)

    def mix(self, x: Tensor) -> Tensor:
        """Mix a map of whole patches; the shape stays ``(B, d, H, W)``."""
        B, d = x.shape[:2]
        (rows, cols), (h, w) = self.grid_size, self.patch_size
        # NPT-Op. 1
        x = x.reshape(B, d, rows, h, cols, w)  # (B, d, H/h, h, W/w, w)
        x = x.permute(0, 1, 3, 5, 2, 4)  # (B, d, h, w, H/h, W/w)
        x = x.reshape(B, d, h * w, rows * cols)  # (B, d, P, N)
        x = self.patch_mlp(x)
        # NPT-Op. 2
        x = x.transpose(2, 3)  # (B, d, N, P)
        x = self.pixel_mlp(x)
        # NPT-Op. 3
        x = x.reshape(B, d, rows, cols, h, w)  # (B, d, H/h, W/w, h, w)
        x = x.permute(0, 2, 4, 3, 5, 1)  # (B, H/h, h, W/w, w, d)
        x = x.reshape(B, rows * h, cols * w, d)  # (B, H, W, d)
        return x.permute(0, 3, 1, 2)  # (B, d, H, W), in channels_last memory

    @staticmethod
    def resizes(key: str, given: Tensor, own: Tensor) -> bool:
        """Whether a weight is resized, if need be, when it is loaded.

        Args:
            key (str): Name of the weight in any network.
            given (Tensor): The weight of a state dict.
            own (Tensor): The weight of the network.

        Returns:
            bool: Whether it belongs to the MLP over the patches of a
            :class:`LARM` and that MLP's expansion is the same.
        """
        return ('.patch_mlp.' in key and given.dim() == own.dim()
                and given.shape[0] * own.shape[:2][-1]
                == own.shape[0] * given.shape[:2][-1])

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
        given = {}
        for name, own in self.patch_mlp.state_dict().items():
            if mlp_prefix + name not in state_dict:
                continue
            given[name] = value = state_dict[mlp_prefix + name]
            # Multiples of the number of patches.
            wanted = tuple(side * rows * cols // prod(self.grid_size)
                           for side in own.shape[:2])
            if rows < 1 or wanted != value.shape[:2]:
                raise ValueError(
                    f'{mlp_prefix}{name} has shape {tuple(value.shape)}, '
                    f'but {rows}x{cols} patches ({prefix}patch_grid) need '
                    f'{wanted}. Check that the checkpoint is whole')
        if grid == self.grid_size:
            return
        resized = resize_mlp(given, grid, self.grid_size, self.patch_mlp.act)
        state_dict.update({
            mlp_prefix + name: value
            for name, value in resized.items()
        })
        state_dict[prefix + 'patch_grid'] = self.patch_grid.clone()
        print_log(
            f'{prefix}patch_mlp: resized from {list(grid)} to '
            f'{list(self.grid_size)} patches (rows, columns)', 'current')
