"""Backbones of the plugin."""
from .ditehrnet import DiteHRNet
from .hfhrnet import HFHRNet
from .lapx import LAPX
from .lpn import LPN
from .mobilevim import MobileViM

__all__ = ['DiteHRNet', 'HFHRNet', 'LAPX', 'LPN', 'MobileViM']
