"""Training hooks of the plugin."""
from .non_local_ramp_hook import NonLocalRampHook

__all__ = ['NonLocalRampHook']
