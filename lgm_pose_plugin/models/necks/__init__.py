"""Necks of the plugin."""
from .cpn_neck import CPNNeck
from .lpn_neck import LPNNeck
from .sfusion_neck import SFusionNeck

__all__ = ['CPNNeck', 'LPNNeck', 'SFusionNeck']
