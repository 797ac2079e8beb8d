"""Training hooks of the plugin."""
from .epoch_seed_hook import EpochSeedHook
from .invalid_loss_hook import InvalidLossHook
from .non_local_ramp_hook import NonLocalRampHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .skipped_data_hook import SkippedDataHook

__all__ = [
    'EpochSeedHook', 'InvalidLossHook', 'NonLocalRampHook',
    'SafeCheckpointHook', 'SkippedDataHook'
]
