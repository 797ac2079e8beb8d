"""Run MMPose's own train script, where `mim train lgm_pose_plugin` looks."""
import argparse
import os.path as osp
import runpy
import sys

from mmengine.utils import get_installed_path

import lgm_pose_plugin  # noqa: F401, also for configs that do not ask for it


def check_resume() -> None:
    """Refuse a resume that would continue another training.

    MMPose takes ``load_from`` of ``--cfg-options`` for the checkpoint that
    ``--resume`` without one is to continue.

    Raises:
        SystemExit: If both are given.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--resume', nargs='?', const='auto')
    parser.add_argument('--cfg-options', nargs='+', default=[])
    args, _ = parser.parse_known_args()
    for option in args.cfg_options:
        if args.resume == 'auto' and option.startswith('load_from='):
            sys.exit('--resume continues what lies in the work dir, but would '
                     f'continue {option[len("load_from="):]} because of '
                     f'{option}; leave that out of --cfg-options. In the '
                     'config file it counts where nothing is to be resumed')


if __name__ == '__main__':
    check_resume()
    runpy.run_path(
        osp.join(get_installed_path('mmpose'), '.mim', 'tools', 'train.py'),
        run_name='__main__')
