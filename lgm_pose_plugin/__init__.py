"""LGM-Pose and LAPX for MMPose: importing this registers all their modules.

Put ``custom_imports = dict(imports=['lgm_pose_plugin'],
allow_failed_imports=False)`` in a config, or ``import lgm_pose_plugin`` before
building a model, and MMPose's registries know the backbones, necks and heads.
Without MMPose, the import registers nothing; where MMPose is broken, it warns.
``lgm_pose_plugin.runtime`` runs exported files there.
"""
import os
import sys
import warnings
from importlib.util import find_spec

from .version import __version__

__all__ = ['__version__', 'register_all_modules']


def register_all_modules() -> None:
    """Register the plugin's modules and model names, and widen MMEngine.

    MMEngine then loads its checkpoints safely on torch >= 2.6 and starts
    processes without GPUs.

    Runs at import, where a failure is but a warning unless MMEngine has been
    imported before, as when a config asks for the plugin; calling it again
    changes nothing.

    Raises:
        ImportError: If MMPose cannot be imported in this environment. The
            message names the cause; ``lgm-pose doctor`` prints the remedy.
    """
    try:
        from . import (backbones, codecs, datasets, distillers, heads, hooks,
                       losses, metrics, necks, optim)
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


def _is_command_line() -> bool:
    """Whether this is ``lgm-pose`` or ``python -m lgm_pose_plugin``."""
    argv = sys.argv or ['']
    if argv[0] != '-m':
        return os.path.basename(argv[0]) in ('lgm-pose', 'lgm-pose.exe')
    # Python is looking for the module to run, which may be another that
    # imports this one. Before 3.10 it does not tell which.
    module = getattr(sys, 'orig_argv', argv)[-len(argv)]
    return module.split('.')[0] == __name__


# The command line registers on its own, so that `lgm-pose doctor` runs in an
# environment in which MMPose cannot be imported. Where there is no MMPose,
# there is `lgm_pose_plugin.runtime` to import.
if not _is_command_line() and find_spec('mmpose'):
    _mmengine_asks = 'mmengine' in sys.modules
    try:
        register_all_modules()
    except ImportError as error:
        # The runtime does without; a config would miss the modules later.
        if _mmengine_asks:
            raise
        warnings.warn(str(error))
