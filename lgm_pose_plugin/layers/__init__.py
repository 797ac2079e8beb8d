"""Layers of the plugin's networks."""
from .larm import LARM
from .mobilevim_block import MobileViMBlock
from .mobilevit_block import MobileViTBlock

__all__ = ['LARM', 'MobileViMBlock', 'MobileViTBlock']
