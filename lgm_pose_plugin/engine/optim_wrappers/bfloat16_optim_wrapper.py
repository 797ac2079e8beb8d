"""Training in bfloat16."""
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from mmpose.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Mixed precision with bfloat16, on CPUs and GPUs.

    MMEngine's ``AmpOptimWrapper`` refuses to run without a GPU, and scales
    the loss, which float16 needs; bfloat16 has the range of float32 and needs
    no scaling. Weights, gradients and optimizer states stay float32. The
    arguments are those of MMEngine's :class:`OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Context of the forward pass.

        Args:
            model (nn.Module): The model in training.

        Yields:
            None: Within, layers compute in bfloat16.
        """
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
