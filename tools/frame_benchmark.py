"""Time frames from the image file to the drawing, part by part.

The frame is rendered, 640x480, with one person and with four. The networks
have random weights, so the people that are drawn are those that were
rendered. `eager` is MMPose's `inference_topdown`, the others are the runtimes
below `PoseRuntime`. All are timed in one interleaved run.
"""
import argparse
import os.path as osp
import shlex
import sys
import tempfile
from functools import partial
from itertools import product
from typing import Any, Callable, Dict, Hashable, List, Sequence, Tuple

import cv2
import numpy as np
import onnx
import onnx.utils
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import InstanceData
from mmpose.apis import inference_topdown
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.models import TopdownPoseEstimator
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

from lgm_pose_plugin.benchmark.timing import (describe_environment,
                                              load_average, percentiles,
                                              time_call, time_interleaved)
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.export.graph import ExportedNetwork, describe
from lgm_pose_plugin.export.onnx_file import finish_onnx, to_onnx
from lgm_pose_plugin.models.builder import build_model, last_maps, load_config
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
from lgm_pose_plugin.runtime.session import open_session
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.files import write_json
from lgm_pose_plugin.utils.machine import cpu_model

IMAGE_SIZE = (640, 480)
PEOPLE = (1, 4)
BACKENDS = ('eager', 'onnxruntime', 'openvino')
STAGES = ('read', 'crop', 'normalize', 'network', 'decode', 'draw')
Calls = Dict[str, Callable[[], Any]]


def time_frames(names: Sequence[str], rounds: int,
                threads: int) -> Dict[str, Any]:
    """Time frames with one person and with four, in one interleaved run.

    Args:
        names (Sequence[str]): Configs, see
            :func:`~lgm_pose_plugin.models.builder.load_config`.
        rounds (int): Timed frames.
        threads (int): Threads of the runtimes.

    Returns:
        dict: ``environment``, a dict of what the times depend on, and
        ``results``, a list of dicts with these keys:

        - ``network`` (str): The network's name, as it was asked for.
        - ``backend`` (str): One of ``BACKENDS``.
        - ``people`` (int): People in the frame, the network's batch.
        - ``threads`` (int): Threads the runtime may use.
        - ``precision`` (str), ``flip`` (bool): ``'float32'``, ``False``.
        - ``device`` (str): The CPU's name.
        - ``runtime`` (str): Name and version of the runtime.
        - ``rounds`` (int): Number of timed frames.
        - ``stages_ms`` (dict[str, float]): Median milliseconds of each of
          ``STAGES``: decoding the JPEG image, warping the people out of it,
          normalization, the network, finding the key points in its maps,
          drawing them. Each is timed by itself; of an exported graph, the
          parts are graphs of their own.
        - ``total_ms``, ``p10_ms``, ``p90_ms`` (float): Median and percentiles
          of the milliseconds from the decoded image to the key points: all
          but the first and the last stage, timed as one.
        - ``around_share`` (float): Crop, normalization and decoding as a
          share of these and the network.

    Raises:
        ImportError: If a runtime is missing.
        ValueError: If a config is unknown or cannot be exported.
    """
    load = load_average()
    torch.set_num_threads(threads)
    frame = rendered_frame()
    calls: Dict[Hashable, Callable[[], float]] = {}
    with tempfile.TemporaryDirectory(prefix='lgm-pose-benchmark-') as folder:
        for name in names:
            cfg = load_config(name)
            model = prepare_model(cfg)
            file = export_graph(cfg, model, folder)
            for backend, people in product(BACKENDS, PEOPLE):
                parts = frame_calls(model, file, backend, threads, people,
                                    *frame)
                for part, call in parts.items():
                    calls[name, backend, people,
                          part] = partial(time_call, call)
        with torch.no_grad():
            seconds = time_interleaved(calls, rounds)
    results = []
    for name, backend, people in product(names, BACKENDS, PEOPLE):
        times = {
            part: percentiles(seconds[name, backend, people, part])
            for part in ('whole', *STAGES)
        }
        p10, total, p90 = times.pop('whole')
        stages = {part: median for part, (_, median, _) in times.items()}
        around = stages['crop'] + stages['normalize'] + stages['decode']
        module = 'torch' if backend == 'eager' else backend
        version = sys.modules[module].__version__.partition('-')[0]
        results.append(
            dict(
                network=name,
                backend=backend,
                people=people,
                threads=threads,
                precision='float32',
                flip=False,
                device=cpu_model(),
                runtime=f'{module} {version}',
                rounds=rounds,
                stages_ms=stages,
                total_ms=total,
                p10_ms=p10,
                p90_ms=p90,
                around_share=around / (around + stages['network'])))
    environment = dict(
        describe_environment(load, threads, rounds),
        threads=threads,
        image='{}x{} JPEG, rendered'.format(*IMAGE_SIZE))
    return dict(environment=environment, results=results)


def rendered_frame() -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render as many people as ``PEOPLE`` asks for at most.

    Returns:
        tuple[np.ndarray, np.ndarray, np.ndarray]: The BGR image, uint8 of
        shape ``(H, W, 3)``, M boxes (left, top, right, bottom), float32 of
        shape ``(M, 4)``, and key points, float32 of shape ``(M, 17, 2)``.
    """
    people: List[dict] = []
    seed = 0
    while len(people) < max(PEOPLE):
        image, people = render_image(
            np.random.default_rng(seed), IMAGE_SIZE, max(PEOPLE))
        seed += 1
    boxes = np.array([person['bbox'] for person in people], np.float32)
    boxes[:, 2:] += boxes[:, :2]
    keypoints = np.array([person['keypoints'] for person in people],
                         np.float32).reshape(len(people), 17, 3)
    return image, boxes, keypoints[..., :2]


def prepare_model(cfg: Config) -> TopdownPoseEstimator:
    """Build a network for MMPose's ``inference_topdown``, without flip test.

    Args:
        cfg (Config): A top-down config.

    Returns:
        TopdownPoseEstimator: The network, with random weights.

    Raises:
        ValueError: If the config is not top-down.
    """
    model: TopdownPoseEstimator = build_model(cfg).requires_grad_(False)
    model.cfg = cfg
    model.dataset_meta = dataset_meta_from_config(cfg, 'test')
    model.test_cfg = dict(model.test_cfg or {}, flip_test=False)
    return model


def frame_calls(model: TopdownPoseEstimator, file: str, backend: str,
                threads: int, people: int, image: np.ndarray,
                boxes: np.ndarray, keypoints: np.ndarray) -> Calls:
    """Make functions that do what happens to a frame, and parts of it.

    Args:
        model (TopdownPoseEstimator): What :func:`prepare_model` returns.
        file (str): What :func:`export_graph` returns; unused by ``'eager'``.
        backend (str): One of ``BACKENDS``.
        threads (int): Threads the runtime may use.
        people (int): How many of the people to look at.
        image (np.ndarray): As :func:`rendered_frame` returns it.
        boxes (np.ndarray): As ``image``.
        keypoints (np.ndarray): As ``image``.

    Returns:
        dict[str, callable]: ``whole``, and ``STAGES`` by name.
    """
    boxes, keypoints = boxes[:people], keypoints[:people]
    if backend == 'eager':
        calls = mmpose_calls(model, image, boxes)
    else:
        calls = runtime_calls(file, backend, threads, image, boxes)
    jpeg = cv2.imencode('.jpg', image)[1]
    calls['read'] = partial(cv2.imdecode, jpeg, cv2.IMREAD_COLOR)
    visualizer = PoseLocalVisualizer()
    visualizer.set_dataset_meta(model.dataset_meta)
    sample = PoseDataSample(
        pred_instances=InstanceData(
            keypoints=keypoints, keypoint_scores=np.ones(keypoints.shape[:2])))
    calls['draw'] = partial(
        visualizer.add_datasample, 'frame', image, sample, draw_gt=False)
    return calls


def mmpose_calls(model: TopdownPoseEstimator, image: np.ndarray,
                 boxes: np.ndarray) -> Calls:
    """Make functions that do what MMPose does with a frame, and parts of it.

    Args:
        model (TopdownPoseEstimator): What :func:`prepare_model` returns.
        image (np.ndarray): BGR image, uint8 of shape ``(H, W, 3)``.
        boxes (np.ndarray): Boxes of shape ``(M, 4)``.

    Returns:
        dict[str, callable]: ``whole``, and some of ``STAGES`` by name.
    """
    pipeline = Compose(model.cfg.test_dataloader.dataset.pipeline)
    people = [
        dict(
            img=image,
            bbox=box[None],
            bbox_score=np.ones(1, np.float32),
            **model.dataset_meta) for box in boxes
    ]

    def crop() -> List[dict]:
        return [pipeline(dict(person)) for person in people]

    batch = pseudo_collate(crop())
    inputs = model.data_preprocessor(batch, False)['inputs']
    with torch.no_grad():
        maps = last_maps(model._forward(inputs))

    def decode() -> List[PoseDataSample]:
        found = model.head.decode(maps if len(maps) > 1 else maps[0])
        return model.add_pred_to_datasample(found, None, batch['data_samples'])

    return dict(
        whole=partial(inference_topdown, model, image, boxes),
        crop=crop,
        normalize=partial(model.data_preprocessor, batch, False),
        network=partial(model._forward, inputs),
        decode=decode)


def export_graph(cfg: Config, model: TopdownPoseEstimator, folder: str) -> str:
    """Export a network that normalizes and decodes, and the parts of it.

    Args:
        cfg (Config): A top-down config.
        model (TopdownPoseEstimator): Its network.
        folder (str): Where the files go: ``whole.onnx``, and
            ``normalize.onnx``, ``network.onnx`` and ``decode.onnx``.

    Returns:
        str: The first of them.

    Raises:
        ValueError: If the network cannot be exported.
    """
    full, whole, *parts = (
        osp.join(folder, f'{name}.onnx')
        for name in ('full', 'whole', 'normalize', 'network', 'decode'))
    width, height = model.head.decoder.input_size
    decoded, maps = to_onnx(
        ExportedNetwork(model, normalize=True, decode=True).eval(),
        torch.zeros((2, height, width, 3), dtype=torch.uint8),
        full,
        dynamic=True)
    finish_onnx(full, whole, decoded,
                describe(cfg, model, normalize=True, decode=True))
    graph = onnx.load(full)
    first = next(node for node in graph.graph.node if node.op_type == 'Conv')
    # For onnx < 1.18, which else takes no output of the whole as an input.
    graph.graph.value_info.extend(graph.graph.output)
    onnx.save(graph, full)
    ends = [['images'], [first.input[0]], maps, decoded]
    for part, inputs, outputs in zip(parts, ends, ends[1:]):
        onnx.utils.extract_model(full, part, inputs, outputs)
    return whole


def runtime_calls(file: str, backend: str, threads: int, image: np.ndarray,
                  boxes: np.ndarray) -> Calls:
    """As :func:`mmpose_calls`, for exported files.

    Args:
        file (str): See :func:`export_graph`.
        backend (str): ``'onnxruntime'`` or ``'openvino'``.
        threads (int): Threads the runtime may use.
        image (np.ndarray): BGR image, uint8 of shape ``(H, W, 3)``.
        boxes (np.ndarray): Boxes of shape ``(M, 4)``.

    Returns:
        dict[str, callable]: See :func:`mmpose_calls`.
    """
    runtime = PoseRuntime(file, backend, threads)
    values = dict(images=runtime.crop(image, boxes)[0])
    calls: Calls = dict(
        whole=partial(runtime, image, boxes),
        crop=partial(runtime.crop, image, boxes))
    for part in ('normalize', 'network', 'decode'):
        path = osp.join(osp.dirname(file), f'{part}.onnx')
        session = open_session(path, backend, threads)
        # What OpenVINO returns has further names.
        inputs = {
            entry.name: values[entry.name]
            for entry in onnx.load(path).graph.input
        }
        calls[part] = partial(session.run, inputs)
        values = session.run(inputs)
    return calls


def main() -> None:
    """Time frames and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='as of `lgm-pose benchmark`')
    parser.add_argument(
        '--rounds',
        type=int,
        default=200,
        help='timed frames (default: %(default)s)')
    parser.add_argument(
        '--threads',
        type=int,
        default=1,
        help='threads of the runtimes (default: %(default)s)')
    parser.add_argument(
        '--json', metavar='FILE', required=True, help='the file to write')
    args = parser.parse_args()
    set_up_mmpose()
    report = time_frames(args.configs, args.rounds, args.threads)
    report['environment'] = dict(
        command=shlex.join(['tools/frame_benchmark.py', *sys.argv[1:]]),
        **report['environment'])
    write_json(args.json, report, indent=2)


if __name__ == '__main__':
    main()
