"""Print what PoseRuntime finds in the boxes of the page's results.

    python web/tests/pose_runtime.py MODEL SOURCE < RESULTS
"""
import json
import sys
from contextlib import closing

import numpy as np

from lgm_pose_plugin.apis.results import People
from lgm_pose_plugin.apis.sources import Video, find_sources, read_image
from lgm_pose_plugin.runtime import PoseRuntime


def main(model, path):
    """Print the results in the layout of the page's."""
    runtime = PoseRuntime(model)
    results = json.load(sys.stdin)

    def predict(image, instances):
        boxes = np.array([one['bbox'][0] for one in instances], np.float32)
        scores = np.array([one['bbox_score'] for one in instances], np.float32)
        return People(boxes, scores, *runtime(image, boxes)).instances()

    source, = find_sources([path])[0]
    if source.kind == 'image':
        print(json.dumps(predict(read_image(path), results)))
        return
    with closing(Video(source)) as video:
        images = [image for _, image in video]
    assert len(images) == len(results), (len(images), len(results))
    print(
        json.dumps([
            dict(one, instances=predict(image, one['instances']))
            for image, one in zip(images, results)
        ]))


if __name__ == '__main__':
    main(*sys.argv[1:])
