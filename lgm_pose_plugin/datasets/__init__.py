"""Data sets of the plugin."""
from .collate import StackedSamples, stack_collate
from .datasets.base.checked_dataset import (BadDataError, CheckedDataset,
                                            target_tensors)
from .datasets.body import CheckedCocoDataset, CheckedMpiiDataset, LspDataset
from .transforms.loading import LoadCheckedImage

__all__ = [
    'BadDataError', 'CheckedCocoDataset', 'CheckedDataset',
    'CheckedMpiiDataset', 'LoadCheckedImage', 'LspDataset', 'StackedSamples',
    'stack_collate', 'target_tensors'
]
