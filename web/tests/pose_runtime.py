"""Print what PoseRuntime finds in the boxes of the page's results.

    python web/tests/pose_runtime.py MODEL SOURCE < RESULTS
"""
import json
import sys

from lgm_pose_plugin.apis import PoseInferencer


def main(model, source):
    """Print the results in the layout of the page's."""
    results = json.load(sys.stdin)
    is_video = 'frame_id' in results[0]
    frames = [one['instances'] for one in results] if is_video else [results]
    boxes = [[person['bbox'][0] for person in people] for people in frames]
    found = [
        one.instances() for one in PoseInferencer(model, det_model='whole')(
            source, bboxes=boxes)
    ]
    assert len(found) == len(frames), (len(found), len(frames))
    print(
        json.dumps([
            dict(one, instances=people) for one, people in zip(results, found)
        ] if is_video else found[0]))


if __name__ == '__main__':
    main(*sys.argv[1:])
