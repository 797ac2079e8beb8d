"""Training hooks of the plugin."""
from .epoch_seed_hook import EpochSeedHook
from .non_local_ramp_hook import NonLocalRampHook
from .safe_checkpoint_hook import SafeCheckpointHook

__all__ = ['EpochSeedHook', 'NonLocalRampHook', 'SafeCheckpointHook']
