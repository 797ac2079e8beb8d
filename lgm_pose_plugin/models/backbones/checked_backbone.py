"""What the plugin's backbones have in common."""
from typing import Any, List, Tuple

import torch
import torch.nn as nn
from mmpose.models.backbones.base_backbone import BaseBackbone
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from lgm_pose_plugin.checkpoint.loading import check_finite


class CheckedBackbone(BaseBackbone):
    """Backbone that freezes parts of itself and refuses foreign weights.

    A subclass sets the attributes and calls :meth:`freeze_stages` at the end
    of its constructor. It runs its parts by :meth:`run`.

    Args:
        frozen_stages (int): Parts up to this number are frozen (no gradients,
            BatchNorm in eval mode); -1 freezes none.
        norm_eval (bool): Whether BatchNorm stays in eval mode.
        with_cp (bool): Whether activations are recomputed in the backward
            pass.
        init_cfg (dict or list[dict], optional): Initialization config.

    Attributes:
        freezable (list[nn.Module]): The parts that ``frozen_stages`` counts.
        image_shape (tuple): Channels, height and width of an image, or a
            letter for what may be any number.
    """

    freezable: List[nn.Module]
    image_shape: Tuple[Any, ...]

    def __init__(self, frozen_stages: int, norm_eval: bool, with_cp: bool,
                 init_cfg: OptMultiConfig):
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self._register_load_state_dict_pre_hook(
            self._refuse_foreign_state_dict)

    def freeze_stages(self) -> None:
        """Freeze the parts up to ``frozen_stages``.

        Raises:
            ValueError: If there are fewer parts.
        """
        if not -1 <= self.frozen_stages < len(self.freezable):
            raise ValueError('frozen_stages must be between -1 and '
                             f'{len(self.freezable) - 1}, got '
                             f'{self.frozen_stages}')
        for part in self.freezable[:self.frozen_stages + 1]:
            part.eval()
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> 'CheckedBackbone':
        """Set the mode, keeping frozen parts and BatchNorm as configured."""
        super().train(mode)
        self.freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def run(self, part: nn.Module, x: Tensor) -> Any:
        """Run a part, with less memory and more time if ``with_cp``.

        Args:
            part (nn.Module): One of the parts of this backbone.
            x (Tensor): Its input.

        Returns:
            Any: Its output.
        """
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(part, x, use_reentrant=False)
        return part(x)

    def prepare(self, x: Tensor) -> Tensor:
        """Check images and bring them to the memory format of fast CPUs.

        All later layers keep it, and the results are the same. On our CPU
        LGM-Pose's inference takes 0.88 of the time and its training half.
        LAPX's inference takes 0.77 and its training 0.88.

        Args:
            x (Tensor): Images of shape ``(B, C, H, W)``.

        Returns:
            Tensor: The images, in channels_last if they are on a CPU. A
            tracer gets them unchanged and unchecked.

        Raises:
            ValueError: If they are not of :attr:`image_shape`.
        """
        if torch.jit.is_tracing():
            return x
        if x.dim() != 4 or any(
                isinstance(side, int) and side != given
                for side, given in zip(self.image_shape, x.shape[1:])):
            wanted = ', '.join(map(str, self.image_shape))
            raise ValueError(
                f'{type(self).__name__} was built for images of shape (B, '
                f'{wanted}), got an input of shape {tuple(x.shape)}. Fit the '
                "pipeline's input_size and model.backbone to each other")
        if x.device.type == 'cpu':
            x = x.contiguous(memory_format=torch.channels_last)
        return x

    def fits(self, key: str, given: Tensor, own: Tensor) -> bool:
        """Whether a given weight can be loaded in place of the own one.

        Args:
            key (str): Name of the weight.
            given (Tensor): The weight of a state dict.
            own (Tensor): The weight of this backbone.

        Returns:
            bool: Whether it can.
        """
        return given.shape == own.shape

    def _refuse_foreign_state_dict(self, state_dict: dict, prefix: str,
                                   *args) -> None:
        """Raise if a state dict is of another network or another design.

        MMEngine loads with ``strict=False``: without this, such a checkpoint
        would leave random weights behind a mere warning.
        """
        name = type(self).__name__
        own = {prefix + key: value for key, value in self.state_dict().items()}
        given = {
            key: value
            for key, value in state_dict.items() if key.startswith(prefix)
        }
        faults = [
            f'{key} has shape {tuple(value.shape)}, the config makes ' +
            (f'{tuple(own[key].shape)}' if key in own else 'no such key')
            for key, value in given.items()
            if key not in own or not self.fits(key, value, own[key])
        ] + [
            f'they lack {key}' for key in own
            if key not in given and not key.endswith('num_batches_tracked')
        ]
        if faults:
            raise ValueError(
                f'These weights are not of {name} as the config makes it: '
                f'{faults[0]}. Check that the two belong together.')
        check_finite(given, f'These weights of {name} are broken')
