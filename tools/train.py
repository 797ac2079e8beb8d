"""Run MMPose's own train script, where `mim train lgm_pose_plugin` looks."""
import os.path as osp
import runpy

from mmengine.utils import get_installed_path

import lgm_pose_plugin  # noqa: F401, also for configs that do not ask for it

if __name__ == '__main__':
    runpy.run_path(
        osp.join(get_installed_path('mmpose'), '.mim', 'tools', 'train.py'),
        run_name='__main__')
