"""Layers of the plugin's networks."""
from .cbam import CBAM, ECACBAM
from .dw_bottleneck import DWBottleneck
from .eca import ECA
from .fast_larm import FastLARM
from .larm import LARM
from .mobilevim_block import MobileViMBlock
from .mobilevit_block import MobileViTBlock
from .non_local import ECANonLocal, NonLocal

__all__ = [
    'CBAM', 'ECA', 'ECACBAM', 'ECANonLocal', 'DWBottleneck', 'FastLARM',
    'LARM', 'MobileViMBlock', 'MobileViTBlock', 'NonLocal'
]
