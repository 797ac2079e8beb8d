"""Data sets of the plugin."""
from .body import LspDataset

__all__ = ['LspDataset']
