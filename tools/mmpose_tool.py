"""Run any of MMPose's tools on configs of the plugin.

MMPose's own `mim run mmpose TOOL` does not know `lgm_pose_plugin::`, since
nothing imports the plugin there.

example: mim run lgm_pose_plugin mmpose_tool browse_dataset mine.py \\
    --output-dir seen --not-show
"""
import os.path as osp
import runpy
import sys
from glob import glob

from mmengine.utils import get_installed_path

import lgm_pose_plugin  # noqa: F401, so that configs can name it


def find_tools() -> dict:
    """List MMPose's tools.

    Returns:
        dict[str, str]: Path by name.
    """
    folder = osp.join(get_installed_path('mmpose'), '.mim', 'tools')
    paths = glob(osp.join(folder, '**', '*.py'), recursive=True)
    return {osp.splitext(osp.basename(path))[0]: path for path in paths}


if __name__ == '__main__':
    tools = find_tools()
    name = sys.argv[1] if len(sys.argv) > 1 else ''
    if name not in tools:
        sys.exit(f'{name!r} is not a tool of MMPose; there are '
                 f'{", ".join(sorted(tools))}')
    # The tool finds its own arguments, and its neighbours, as if it were run.
    sys.argv = [tools[name], *sys.argv[2:]]
    sys.path[0] = osp.dirname(tools[name])
    runpy.run_path(tools[name], run_name='__main__')
