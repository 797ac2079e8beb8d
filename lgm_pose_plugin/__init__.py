"""LGM-Pose and LAPX for MMPose.

Importing this package makes MMPose's registries find its modules. Put
``custom_imports = dict(imports=['lgm_pose_plugin'],
allow_failed_imports=False)`` in a config, or ``import lgm_pose_plugin`` before
you build a model. The import itself imports neither torch nor MMPose.
"""
from lgm_pose_plugin.setup_env import (extend_when_imported,
                                       register_all_modules)
from lgm_pose_plugin.version import __version__

__all__ = ['__version__', 'register_all_modules']

extend_when_imported()
