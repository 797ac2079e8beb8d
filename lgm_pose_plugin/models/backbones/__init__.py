"""Backbones of the plugin."""
from .lapx import LAPX
from .lpn import LPN
from .mobilevim import MobileViM

__all__ = ['LAPX', 'LPN', 'MobileViM']
