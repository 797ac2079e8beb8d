"""Metrics of the plugin."""
from .coco_submission import CocoSubmission
from .lsp_pck import LspPCKAccuracy

__all__ = ['CocoSubmission', 'LspPCKAccuracy']
