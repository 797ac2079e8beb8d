"""Cross-entropy of heat maps, over their pixels."""
from typing import Optional

import torch
import torch.nn.functional as F
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class KeypointCrossEntropyLoss(nn.Module):
    """Kullback-Leibler divergence between heat maps as distributions.

    The loss compares a softmax over the pixels of each predicted map with the
    target map divided by its sum. This is Mask R-CNN's loss of key points
    (arXiv 1703.06870, section 5) with a Gaussian target. The target's entropy
    is subtracted, so that the loss can reach 0. Decode with
    :class:`SoftmaxUDPHeatmap`. docs/lsp_benchmark.md compares this loss with
    :class:`KeypointMSELoss`.

    Args:
        use_target_weight (bool): Whether key points are weighted by
            ``target_weights``; the mean is over the weights. Defaults to
            ``True``.
        loss_weight (float): Weight of the loss. Defaults to 1.

    Example:
        >>> import torch
        >>> target = torch.zeros(2, 17, 64, 48)
        >>> target[..., 20, 10] = 1
        >>> KeypointCrossEntropyLoss()(torch.zeros_like(target), target)
        tensor(8.0301)
    """

    def __init__(self,
                 use_target_weight: bool = True,
                 loss_weight: float = 1.):
        super().__init__()
        self.use_target_weight = use_target_weight
        self.loss_weight = loss_weight

    def forward(self,
                output: Tensor,
                target: Tensor,
                target_weights: Optional[Tensor] = None) -> Tensor:
        """Compute the loss.

        Args:
            output (Tensor): Logits of shape ``(B, K, H, W)``.
            target (Tensor): Heat maps of shape ``(B, K, H, W)``; those that
                are zero everywhere do not count.
            target_weights (Tensor, optional): Weights of shape ``(B, K)``.
                Defaults to ``None``, all alike.

        Returns:
            Tensor: The loss in nats, a scalar.
        """
        target = target.flatten(2)
        mass = target.sum(2, keepdim=True)
        weights = (mass[..., 0] > 0).to(output.dtype)
        if self.use_target_weight and target_weights is not None:
            weights = weights * target_weights
        target = target / mass.clamp(min=torch.finfo(mass.dtype).tiny)
        log_output = F.log_softmax(output.flatten(2), dim=2)
        loss = F.kl_div(log_output, target, reduction='none').sum(2)
        total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        return self.loss_weight * (loss * weights).sum() / total
