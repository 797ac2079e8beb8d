"""Heads of the plugin."""
from .lgm_head import LGMHead

__all__ = ['LGMHead']
