"""Training hooks of the plugin."""
from .invalid_loss_hook import InvalidLossHook
from .non_local_ramp_hook import NonLocalRampHook
from .skipped_data_hook import SkippedDataHook

__all__ = ['InvalidLossHook', 'NonLocalRampHook', 'SkippedDataHook']
