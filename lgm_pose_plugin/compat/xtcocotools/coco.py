"""Annotations in COCO's format."""
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
import pycocotools.coco

from lgm_pose_plugin.utils.files import read_json

__all__ = ['COCO']


class COCO(pycocotools.coco.COCO):
    """pycocotools' class with the arguments of xtcocotools'.

    Args:
        annotation_file (str, optional): File of annotations.
        test_index (Sequence[int], optional): The key points to keep of each
            annotation. By default all.
        ann_data (dict, optional): What the file holds, to not read it.
    """

    def __init__(self,
                 annotation_file: Optional[str] = None,
                 test_index: Optional[Sequence[int]] = None,
                 ann_data: Optional[Dict[str, Any]] = None):
        super().__init__()
        if ann_data is None and annotation_file is not None:
            ann_data = read_json(annotation_file)
        if ann_data is not None:
            self.dataset = ann_data
            self.createIndex()
        for annotation in self.dataset.get('annotations', []):
            annotation.setdefault('iscrowd', False)
            if test_index is not None:
                keypoints = np.reshape(annotation['keypoints'], (-1, 3))
                annotation['keypoints'] = keypoints[test_index].ravel().tolist(
                )

    def loadRes(
        self,
        resFile: Union[str, List[Dict[str, Any]], np.ndarray],
        resData: Optional[List[Dict[str,
                                    Any]]] = None) -> pycocotools.coco.COCO:
        """Load results of these images.

        Args:
            resFile (str or list[dict] or np.ndarray): Results or their file.
            resData (list[dict], optional): What the file holds, to not read
                it.

        Returns:
            pycocotools.coco.COCO: The results as annotations.
        """
        results = resFile if resData is None else resData
        if isinstance(results, str):
            results = read_json(results)
        if len(results) == 0:  # pycocotools looks at the first one
            return COCO(ann_data=dict(self.dataset, annotations=[]))
        return super().loadRes(results)
