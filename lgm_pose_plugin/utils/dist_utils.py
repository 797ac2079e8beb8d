"""Several processes on a machine without a GPU."""
from typing import Any

import torch
from mmengine.dist import utils


def allow_processes_without_gpu() -> None:
    """Let ``--launcher pytorch`` start processes that have no GPU.

    MMEngine selects a GPU for each process before it looks at the backend,
    and torch raises where there is none. With the backend ``gloo``
    (``env_cfg.dist_cfg.backend``) and no GPU, processes now join without
    that; everything else goes to MMEngine. Runs once MMEngine is imported;
    calling it again changes nothing.
    """
    original = utils._init_dist_pytorch
    if original.__module__ == __name__:
        return

    def _init_dist_pytorch(backend: str, **kwargs: Any) -> None:
        if backend != 'gloo' or torch.cuda.is_available():
            original(backend, **kwargs)
            return
        kwargs.pop('init_backend', None)  # torch, deepspeed, colossalai
        torch.distributed.init_process_group(backend, **kwargs)

    utils._init_dist_pytorch = _init_dist_pytorch


allow_processes_without_gpu()
