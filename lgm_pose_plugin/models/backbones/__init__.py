"""Backbones of the plugin."""
from .lapx import LAPX
from .mobilevim import MobileViM

__all__ = ['LAPX', 'MobileViM']
