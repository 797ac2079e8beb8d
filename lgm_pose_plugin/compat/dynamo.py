"""MMEngine's ``compile`` option with torch 2.10 and newer."""
import functools
from typing import Any

__all__ = ['leave_out_metainfo']


def leave_out_metainfo() -> None:
    """Let ``torch.compile`` leave out how MMEngine copies meta information.

    MMEngine compiles ``train_step``, which copies NumPy arrays along with the
    samples. torch traces these as tensors and fails.
    """
    from mmengine.runner import Runner
    from mmengine.structures import BaseDataElement
    original = Runner._maybe_compile

    @functools.wraps(original)
    def _maybe_compile(self: Any, target: str) -> None:
        if self.cfg.get('compile'):
            from torch.compiler import disable
            BaseDataElement.set_metainfo = disable(
                BaseDataElement.set_metainfo)
        original(self, target)

    Runner._maybe_compile = _maybe_compile
