"""Metrics of the plugin."""
from .coco_submission import CocoSubmission

__all__ = ['CocoSubmission']
