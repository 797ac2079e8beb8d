"""LGM-Pose and LAPX for MMPose: importing this registers all their modules.

Put ``custom_imports = dict(imports=['lgm_pose_plugin'],
allow_failed_imports=False)`` in a config, or ``import lgm_pose_plugin`` before
building a model, and MMPose's registries know the backbones, necks and heads.
Without MMPose, the import registers nothing; ``lgm_pose_plugin.runtime`` runs
exported files there.
"""
import os
import sys
from importlib.util import find_spec

from .version import __version__

__all__ = ['__version__', 'register_all_modules']


def register_all_modules() -> None:
    """Register the plugin's modules and model names, and widen MMEngine.

    MMEngine then loads its checkpoints safely on torch >= 2.6 and starts
    processes without GPUs.

    Runs at import; calling it again changes nothing.

    Raises:
        ImportError: If MMPose cannot be imported in this environment. The
            message names the cause; ``lgm-pose doctor`` prints the remedy.
    """
    try:
        from . import (backbones, codecs, datasets, heads, hooks, losses,
                       metrics, necks, optim)
        from .checkpoint import allow_mmengine_checkpoints
        from .model_index import register_model_names
        from .processes import allow_processes_without_gpu
    except Exception as error:
        raise ImportError(
            f'lgm_pose_plugin cannot register its modules: {error!r}. '
            'Run `lgm-pose doctor` for the remedy.') from error
    allow_mmengine_checkpoints()
    allow_processes_without_gpu()
    register_model_names()


# The command line registers on its own, so that `lgm-pose doctor` runs in an
# environment in which MMPose cannot be imported ('-m': `python -m` at work).
# Where there is no MMPose, there is `lgm_pose_plugin.runtime` to import.
_program = os.path.basename(sys.argv[0] if sys.argv else '')
if _program not in ('-m', 'lgm-pose', 'lgm-pose.exe') and find_spec('mmpose'):
    register_all_modules()
