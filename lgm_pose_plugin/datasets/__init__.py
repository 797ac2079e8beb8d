"""Data sets of the plugin."""
from .datasets.base.checked_dataset import BadDataError, CheckedDataset
from .datasets.body import CheckedCocoDataset, CheckedMpiiDataset, LspDataset
from .transforms.loading import LoadCheckedImage

__all__ = [
    'BadDataError', 'CheckedCocoDataset', 'CheckedDataset',
    'CheckedMpiiDataset', 'LoadCheckedImage', 'LspDataset'
]
