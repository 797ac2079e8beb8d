"""Run MMPose's own test script, where `mim test lgm_pose_plugin` looks."""
import os.path as osp
import runpy

from mmengine.utils import get_installed_path

import lgm_pose_plugin  # noqa: F401, also for configs that do not ask for it

if __name__ == '__main__':
    runpy.run_path(
        osp.join(get_installed_path('mmpose'), '.mim', 'tools', 'test.py'),
        run_name='__main__')
