"""Data sets of the plugin."""
from .body import CheckedCocoDataset, CheckedMpiiDataset, LspDataset
from .checked_dataset import BadDataError, CheckedDataset
from .checked_image import LoadCheckedImage

__all__ = [
    'BadDataError', 'CheckedCocoDataset', 'CheckedDataset',
    'CheckedMpiiDataset', 'LoadCheckedImage', 'LspDataset'
]
