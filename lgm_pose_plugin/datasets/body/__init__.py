"""Data sets of human bodies (MMPose's inferencers read this name)."""
from .lsp_dataset import LspDataset

__all__ = ['LspDataset']
