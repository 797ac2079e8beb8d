"""Training in bfloat16."""
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Tuple

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from mmpose.registry import OPTIM_WRAPPERS
from torch import nn
from torch.overrides import TorchFunctionMode


class _Float32WhereNeeded(TorchFunctionMode):
    """Compute in float32 what bfloat16 is slow at or has not.

    On CPUs, oneDNN's gradient of strided depthwise convolutions takes several
    times as long in bfloat16. NumPy has no bfloat16, and MMPose's heads take
    their accuracy from arrays.
    """

    def __torch_function__(self,
                           func: Callable,
                           types: Tuple[type, ...],
                           args: tuple = (),
                           kwargs: Optional[dict] = None) -> Any:
        if func is torch.conv2d and len(args) == 7:
            x, weight, bias, stride, *_, groups = args
            if (x.device.type == 'cpu' and groups == x.shape[1] > 1
                    and max(stride) > 1):
                with torch.autocast('cpu', enabled=False):
                    # A dynamic convolution's weight is an output in bfloat16.
                    return func(x.float(), weight.float(),
                                *args[2:]).bfloat16()
        if func is torch.Tensor.numpy and args[0].dtype == torch.bfloat16:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


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
        with super().optim_context(model), autocast(
                dtype=torch.bfloat16), _Float32WhereNeeded():
            yield
