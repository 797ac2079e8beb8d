"""Distillers of the plugin."""
from .heatmap_distiller import HeatmapDistiller

__all__ = ['HeatmapDistiller']
