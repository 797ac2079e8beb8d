"""Result files for COCO's evaluation server."""
import os
from typing import Dict

from mmengine.fileio import dump, load
from mmengine.logging import print_log
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import METRICS


@METRICS.register_module()
class CocoSubmission(CocoMetric):
    """Write the predictions as a submission to COCO's evaluation server.

    MMPose's :class:`CocoMetric` with ``format_only=True`` writes
    ``<outfile_prefix>.keypoints.json`` with additional fields. The server
    wants ``person_keypoints_<subset>_<algorithm>_results.json`` and results of
    ``image_id``, ``category_id``, ``keypoints`` and ``score``. This metric
    gives no figures; it takes the arguments of ``CocoMetric``, of which
    ``outfile_prefix`` (without ``.json``) and ``ann_file`` are needed.
    """

    def __init__(self, **kwargs):
        super().__init__(format_only=True, **kwargs)

    def results2json(self, keypoints: Dict[int, list],
                     outfile_prefix: str) -> str:
        """Write the result file.

        Args:
            keypoints (dict[int, list]): The results of each image id.
            outfile_prefix (str): Path of the file without ``.json``.

        Returns:
            str: The path of the file.
        """
        super().results2json(keypoints, outfile_prefix)
        written = f'{outfile_prefix}.keypoints.json'
        fields = ('image_id', 'category_id', 'keypoints', 'score')
        result_file = f'{outfile_prefix}.json'
        dump([{
            field: result[field]
            for field in fields
        } for result in load(written)], result_file)
        os.remove(written)
        print_log(f'Submission written to {result_file}', 'current')
        return result_file
