"""Backbones of the plugin."""
from .mobilevim import MobileViM

__all__ = ['MobileViM']
