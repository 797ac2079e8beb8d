"""Importing this module registers all of the plugin's modules.

It is one of the locations that MMPose's registries import, see setup_env.
"""
from lgm_pose_plugin.setup_env import register_all_modules

register_all_modules()
