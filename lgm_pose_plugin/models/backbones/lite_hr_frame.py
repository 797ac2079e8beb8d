"""Lite-HRNet's frame, for networks with other blocks in it."""
from typing import Any, Callable, List, Sequence, Tuple, Type

import torch
import torch.nn as nn
from mmengine.model import BaseModule
from mmpose.models.backbones.litehrnet import LiteHRModule, LiteHRNet
from mmpose.utils.typing import ConfigType, OptMultiConfig
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Modules of the three stages by depth.
NUM_MODULES = {18: (2, 4, 2), 30: (3, 8, 3)}


class FrameBlock(BaseModule):
    """A block that sees all branches.

    A subclass has a method ``_forward``, from maps to maps of the same shapes.

    Args:
        with_cp (bool): Whether activations are recomputed in the backward
            pass. Defaults to ``False``.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.
    """

    _forward: Callable[..., List[Tensor]]

    def __init__(self, with_cp: bool = False, init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.with_cp = with_cp

    def forward(self, maps: Sequence[Tensor]) -> List[Tensor]:
        """Process the maps of all branches.

        Args:
            maps (Sequence[Tensor]): Maps of shapes ``(B, C, H, W)``.

        Returns:
            list[Tensor]: Maps of the same shapes.
        """
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._forward, *maps, use_reentrant=False)
        return self._forward(*maps)


class FrameModule(LiteHRModule):
    """Two blocks that see all branches, then Lite-HRNet's fusion.

    A subclass sets :attr:`block`.

    Args:
        in_channels (Sequence[int]): Channels of the branches, the largest map
            first.
        norm_cfg (dict): Config of the normalization layers.
        with_cp (bool): Whether activations are recomputed in the backward
            pass.

    Attributes:
        block (callable): Makes a block from the three arguments.
    """

    block: Callable[..., FrameBlock]

    def __init__(self, in_channels: Sequence[int], norm_cfg: ConfigType,
                 with_cp: bool):
        super().__init__(
            len(in_channels),
            2,
            in_channels,
            reduce_ratio=None,
            module_type='LITE',
            multiscale_output=True,
            norm_cfg=norm_cfg,
            with_cp=with_cp)

    def _make_weighting_blocks(self, num_blocks: int,
                               reduce_ratio: None) -> nn.Sequential:
        """Make the blocks, in place of Lite-HRNet's."""
        return nn.Sequential(*(
            self.block(self.in_channels, self.norm_cfg, with_cp=self.with_cp)
            for _ in range(num_blocks)))


class LiteHRFrame(LiteHRNet):
    """Lite-HRNet's transitions, fusions and iterative head.

    The maps have 1/4, 1/8, 1/16 and 1/32 of the image's size, and the output
    is that of 1/4. A subclass sets :attr:`module`. Weights are named as in
    Lite-HRNet's code.

    Args:
        stem (nn.Module): From images to 1/4 of their size, with an attribute
            ``out_channels``.
        width (int): Channels at 1/4; they double at each smaller map.
        depth (int): 18 or 30.
        norm_cfg (dict): Config of the normalization layers.
        **kwargs: Other arguments of ``LiteHRNet``.

    Attributes:
        module (type): The :class:`FrameModule` of the stages.

    Raises:
        ValueError: If there is no such depth; from ``forward``, if the sides
            of an image are not multiples of 32.
    """

    module: Type[FrameModule]

    def __init__(self, stem: nn.Module, width: int, depth: int,
                 norm_cfg: ConfigType, **kwargs: Any):
        if depth not in NUM_MODULES:
            raise ValueError(f'depth must be one of {list(NUM_MODULES)}, got '
                             f'{depth}')
        channels = [width * 2**i for i in range(4)]
        extra = dict(
            # Replaced below.
            stem=dict(
                stem_channels=32,
                out_channels=stem.out_channels,
                expand_ratio=1),
            num_stages=3,
            stages_spec=dict(
                num_modules=NUM_MODULES[depth],
                num_branches=(2, 3, 4),
                num_channels=[channels[:i] for i in (2, 3, 4)]),
            with_head=True)
        super().__init__(extra, norm_cfg=norm_cfg, **kwargs)
        self.stem = stem

    def _make_stage(
            self,
            stages_spec: dict,
            stage_index: int,
            in_channels: Sequence[int],
            multiscale_output: bool = True
    ) -> Tuple[nn.Sequential, Sequence[int]]:
        """Make the modules of a stage, in place of Lite-HRNet's."""
        modules = (
            self.module(in_channels, self.norm_cfg, self.with_cp)
            for _ in range(stages_spec['num_modules'][stage_index]))
        return nn.Sequential(*modules), in_channels

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        """Extract features.

        Args:
            x (Tensor): Images of shape ``(B, in_channels, H, W)``.

        Returns:
            tuple[Tensor]: One map of shape ``(B, width, H / 4, W / 4)``.
        """
        if not torch.jit.is_tracing() and any(side % 32
                                              for side in x.shape[2:]):
            raise ValueError(
                f'{type(self).__name__} takes images with sides that are '
                f'multiples of 32, got an input of shape {tuple(x.shape)}. '
                "Change the codec's input_size and heatmap_size")
        return super().forward(x)

    def train(self, mode: bool = True) -> 'LiteHRFrame':
        """Set the mode, see ``nn.Module.train``; MMPose's returns nothing."""
        super().train(mode)
        return self
