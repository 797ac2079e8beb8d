"""Heads of the plugin."""
from .lapx_head import LAPXHead
from .lgm_head import LGMHead
from .tokenpose_head import TokenPoseHead

__all__ = ['LAPXHead', 'LGMHead', 'TokenPoseHead']
