"""What the plugin's writers of COCO-style annotations share."""
import warnings
from typing import Any, Dict

from mmpose.datasets.datasets.utils import parse_pose_metainfo


def person_category(metainfo: Dict[str, Any]) -> Dict[str, Any]:
    """Make COCO's person category from a data set's meta information.

    Args:
        metainfo (dict): The ``METAINFO`` of a data set class of MMPose.

    Returns:
        dict: ``id``, ``name``, ``supercategory``, the names of the
        ``keypoints`` and the ``skeleton`` with indices from 1 on.
    """
    with warnings.catch_warnings():
        # Out of MMPose's source tree its configs are found with a warning.
        warnings.simplefilter('ignore')
        meta = parse_pose_metainfo(metainfo)
    return dict(
        id=1,
        name='person',
        supercategory='person',
        keypoints=list(meta['keypoint_id2name'].values()),
        skeleton=[[a + 1, b + 1] for a, b in meta['skeleton_links']])
