"""Codecs of the plugin."""
from .softmax_udp_heatmap import SoftmaxUDPHeatmap

__all__ = ['SoftmaxUDPHeatmap']
