"""Non-Local (arXiv 1711.07971) with a gain, and LAPX's ECA-NonLocal."""
import torch
import torch.nn as nn
from mmcv.cnn import NonLocal2d
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from mmpose.utils.typing import OptMultiConfig
from torch import Tensor

from .eca import ECA


# A name of its own: projects register theirs with MMPose, too.
@MODELS.register_module('LAPXNonLocal')
class NonLocal(NonLocal2d):
    r"""Non-Local block whose branch is scaled by a gain, gamma.

    ``x + gamma * W_o(softmax_j(theta(x_i) . phi(x_j)) g(x_j))``, without
    ``1 / sqrt(d)`` and without normalization layers; `LAPX
    <https://arxiv.org/abs/2512.16089>`_ on `arXiv 1711.07971
    <https://arxiv.org/abs/1711.07971>`_. Where gamma is 0 its other weights
    get no gradient; :class:`NonLocalRampHook` raises it in training.

    Args:
        in_channels (int): Channels of the map, C.
        reduction (int): The embeddings have ``C // reduction`` channels.
            Defaults to 8.
        gamma (float): The gain to start with. Defaults to 0.

    Attributes:
        enabled (bool): Whether the branch is computed; if not, the layer
            returns its input. Defaults to ``True``.
        learn_gamma (bool): Whether gamma gets a gradient. Defaults to
            ``True``.

    Example:
        >>> import torch
        >>> layer = NonLocal(208, gamma=0.2)
        >>> tuple(layer(torch.rand(2, 208, 16, 12)).shape)
        (2, 208, 16, 12)
    """

    def __init__(self,
                 in_channels: int,
                 reduction: int = 8,
                 gamma: float = 0.):
        super().__init__(in_channels, reduction=reduction, use_scale=False)
        self.gamma = nn.Parameter(torch.tensor(float(gamma)))
        self.enabled = True
        self.learn_gamma = True

    def init_weights(self, *args, **kwargs) -> None:
        """Initialize the convolutions as torch does (inferred).

        mmcv would set ``W_o`` to 0, and together with a gamma of 0 nothing
        would ever get a gradient.
        """
        for module in (self.theta, self.phi, self.g, self.conv_out):
            module.conv.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Add what the other pixels contribute.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        if not self.enabled:
            return x
        gamma = self.gamma if self.learn_gamma else self.gamma.detach()
        # mmcv's block returns x + branch
        return x + gamma * (super().forward(x) - x)


@MODELS.register_module()
class ECANonLocal(BaseModule):
    """:class:`ECA`, then :class:`NonLocal`.

    From `LAPX <https://arxiv.org/abs/2512.16089>`_, at the lowest resolution
    of an hourglass.

    Args:
        in_channels (int): Channels of the map.
        reduction (int): See :class:`NonLocal`. Defaults to 8.
        gamma (float): See :class:`NonLocal`. Defaults to 0.
        init_cfg (dict or list[dict], optional): Initialization config.
            Defaults to ``None``.

    Example:
        >>> import torch
        >>> layer = ECANonLocal(208)
        >>> tuple(layer(torch.rand(2, 208, 16, 12)).shape)
        (2, 208, 16, 12)
    """

    def __init__(self,
                 in_channels: int,
                 reduction: int = 8,
                 gamma: float = 0.,
                 init_cfg: OptMultiConfig = None):
        super().__init__(init_cfg)
        self.channel = ECA(in_channels)
        self.non_local = NonLocal(in_channels, reduction, gamma)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels, then add what the other pixels contribute.

        Args:
            x (Tensor): Map of shape ``(B, C, H, W)``.

        Returns:
            Tensor: Map of shape ``(B, C, H, W)``.
        """
        return self.non_local(self.channel(x))
