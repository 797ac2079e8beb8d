"""Checkpoints: load them without running them, publish the weights."""
from .loading import check_finite, load_checkpoint
from .publishing import publish_checkpoint
from .unpickling import allow_mmengine_checkpoints

__all__ = [
    'allow_mmengine_checkpoints', 'check_finite', 'load_checkpoint',
    'publish_checkpoint'
]
