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

        Raises:
            RuntimeError: If this torch lacks bfloat16 for one of the layers:
                1.13 for LayerNorm, and so LARM, on CPUs.
        """
        try:
            with super().optim_context(model), autocast(dtype=torch.bfloat16):
                yield
        except RuntimeError as error:
            if 'BFloat16' not in str(error):
                raise
            raise RuntimeError(
                f'torch {torch.__version__} cannot compute this network in '
                f'bfloat16 ({error}); use a later torch, or train in float32 '
                "with optim_wrapper.type='OptimWrapper'") from error
