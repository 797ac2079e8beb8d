"""Data sets of human bodies (MMPose's inferencers read this name)."""
from .checked_datasets import CheckedCocoDataset, CheckedMpiiDataset
from .lsp_dataset import LspDataset

__all__ = ['CheckedCocoDataset', 'CheckedMpiiDataset', 'LspDataset']
