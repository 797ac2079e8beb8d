"""Losses of the plugin."""
from .keypoint_cross_entropy_loss import KeypointCrossEntropyLoss

__all__ = ['KeypointCrossEntropyLoss']
