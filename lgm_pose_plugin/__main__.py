"""``python -m lgm_pose_plugin``, the same as ``lgm-pose``."""
import sys

from lgm_pose_plugin.cli import main

if __name__ == '__main__':
    sys.exit(main())
