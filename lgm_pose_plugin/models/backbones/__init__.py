"""Backbones of the plugin."""
from .ditehrnet import DiteHRNet
from .hfhrnet import HFHRNet
from .lapx import LAPX
from .mobilevim import MobileViM

__all__ = ['DiteHRNet', 'HFHRNet', 'LAPX', 'MobileViM']
