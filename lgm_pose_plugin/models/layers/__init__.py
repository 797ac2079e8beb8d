"""Layers of the plugin's networks."""
from .adaptive_context import DenseContextModeling, GlobalContextModeling
from .cbam import CBAM, ECACBAM
from .dw_bottleneck import DWBottleneck
from .dynamic_conv import DynamicConv2d
from .eca import ECA
from .fast_larm import FastLARM
from .larm import LARM
from .linear_basic_block import LinearBasicBlock
from .mobilevim_block import MobileViMBlock
from .mobilevit_block import MobileViTBlock
from .non_local import ECANonLocal, NonLocal

__all__ = [
    'CBAM', 'DWBottleneck', 'DenseContextModeling', 'DynamicConv2d', 'ECA',
    'ECACBAM', 'ECANonLocal', 'FastLARM', 'GlobalContextModeling', 'LARM',
    'LinearBasicBlock', 'MobileViMBlock', 'MobileViTBlock', 'NonLocal'
]
