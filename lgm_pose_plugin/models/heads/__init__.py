"""Heads of the plugin."""
from .lapx_head import LAPXHead
from .lgm_head import LGMHead

__all__ = ['LAPXHead', 'LGMHead']
