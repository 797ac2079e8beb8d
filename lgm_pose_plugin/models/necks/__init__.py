"""Necks of the plugin."""
from .sfusion_neck import SFusionNeck

__all__ = ['SFusionNeck']
