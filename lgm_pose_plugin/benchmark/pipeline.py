"""Where the time of a frame goes, from the image file to the drawing."""
import os.path as osp
import sys
import tempfile
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

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
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer
from torch import nn

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.export.graph import ExportedNetwork, describe
from lgm_pose_plugin.export.onnx_file import finish_onnx, to_onnx
from lgm_pose_plugin.models.builder import build_model, last_maps, load_config
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
from lgm_pose_plugin.runtime.session import open_session
from lgm_pose_plugin.utils.machine import cpu_model
from .run import (check_positive, describe_environment, load_average,
                  time_interleaved)
from .worker import time_call

PIPELINE_BACKENDS = ('eager', 'onnxruntime', 'openvino')
IMAGE_SIZE = (640, 480)
PEOPLE = (1, 4)
STAGES = ('read', 'crop', 'normalize', 'network', 'decode', 'draw')


class PipelineResult(NamedTuple):
    """Time of a frame, and where it goes.

    Attributes:
        network (str): The network's name, as it was asked for.
        backend (str): ``'eager'``: MMPose's ``inference_topdown``; else the
            runtime below :class:`~lgm_pose_plugin.runtime.PoseRuntime`.
        people (int): People in the frame, the network's batch.
        threads (int): Threads the runtime may use.
        precision (str): ``'float32'``.
        flip (bool): Whether crops are also run mirrored: ``False``.
        device (str): The CPU's name.
        runtime (str): Name and version of the runtime.
        rounds (int): Number of timed frames.
        stages_ms (dict[str, float]): Median milliseconds of each of
            ``STAGES``: decoding the JPEG image, warping the people out of it,
            normalization, the network, finding the key points in its maps,
            drawing them. Each is timed by itself; of an exported graph, the
            parts are graphs of their own.
        total_ms (float): Median milliseconds from the decoded image to the
            key points: all but the first and the last, timed as one.
        p10_ms (float): 10th percentile of the same.
        p90_ms (float): 90th percentile of the same.
        around_share (float): Crop, normalization and decoding as a share of
            these and the network.
    """
    network: str
    backend: str
    people: int
    threads: int
    precision: str
    flip: bool
    device: str
    runtime: str
    rounds: int
    stages_ms: Dict[str, float]
    total_ms: float
    p10_ms: float
    p90_ms: float
    around_share: float


def run_pipeline(names: Sequence[str] = ('lgm-pose', ),
                 backends: Sequence[str] = PIPELINE_BACKENDS,
                 *,
                 threads: int = 1,
                 rounds: int = 200,
                 warmup: Optional[int] = None) -> Dict[str, Any]:
    """Time frames with one person and with four, in one interleaved run.

    The image is rendered, 640x480. The networks have random weights, so the
    people that are drawn are those that were rendered.

    Args:
        names (Sequence[str]): Configs, see
            :func:`~lgm_pose_plugin.models.builder.load_config`. Defaults to
            ``('lgm-pose', )``.
        backends (Sequence[str]): Some of ``PIPELINE_BACKENDS``. Defaults to
            all.
        threads (int): Threads of the runtimes. Defaults to 1.
        rounds (int): Timed frames. Defaults to 200.
        warmup (int, optional): Frames before them. Defaults to a
            tenth of the rounds, at least 2.

    Returns:
        dict: ``environment``, a dict of what the times depend on, and
        ``results``, a list of :class:`PipelineResult`.

    Raises:
        ImportError: If a runtime is missing.
        ValueError: If an argument is out of range, or a config is unknown or
            cannot be exported.
    """
    check_positive(threads=threads, rounds=rounds)
    for backend in backends:
        if backend not in PIPELINE_BACKENDS:
            raise ValueError(f'the pipeline has no backend {backend!r}, '
                             f'choose some of {", ".join(PIPELINE_BACKENDS)}')
    warmup = max(2, rounds // 10) if warmup is None else warmup
    load = load_average()
    torch.set_num_threads(threads)
    image, boxes, keypoints = rendered_frame()
    calls: Dict[Any, Callable] = {}
    with tempfile.TemporaryDirectory(prefix='lgm-pose-benchmark-') as folder:
        for name in names:
            cfg = load_config(name)
            model = prepare_model(cfg)
            if set(backends) - {'eager'}:
                file = export_graph(cfg, model, folder)
            for backend in backends:
                for people in PEOPLE:
                    if backend == 'eager':
                        parts = mmpose_calls(model, image, boxes[:people])
                    else:
                        parts = runtime_calls(file, backend, threads, image,
                                              boxes[:people])
                    parts.update(
                        read=read_call(image),
                        draw=draw_call(image, keypoints[:people],
                                       model.dataset_meta))
                    for part, call in parts.items():
                        calls[name, backend, people,
                              part] = partial(time_call, call)
        with torch.no_grad():
            seconds = time_interleaved(calls, rounds, warmup)
    results = []
    for name, backend, people in dict.fromkeys(key[:3] for key in calls):
        stages = {
            part: 1e3 * float(np.median(seconds[name, backend, people, part]))
            for part in STAGES
        }
        whole = 1e3 * np.array(seconds[name, backend, people, 'whole'])
        p10, p90 = np.percentile(whole, (10, 90))
        around = stages['crop'] + stages['normalize'] + stages['decode']
        module = 'torch' if backend == 'eager' else backend
        version = sys.modules[module].__version__.partition('-')[0]
        results.append(
            PipelineResult(
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
                total_ms=float(np.median(whole)),
                p10_ms=float(p10),
                p90_ms=float(p90),
                around_share=around / (around + stages['network'])))
    environment = {
        **describe_environment(load, threads), 'threads': threads,
        'image': '{}x{} JPEG, rendered'.format(*IMAGE_SIZE),
        'flip test': 'no',
        'rounds': rounds,
        'warm-up rounds': warmup
    }
    return dict(environment=environment, results=results)


def rendered_frame() -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Render as many people as ``PEOPLE`` asks for at most.

    Returns:
        tuple[np.ndarray, np.ndarray, np.ndarray]: The BGR image, uint8 of
        shape ``(H, W, 3)``, M boxes (left, top, right, bottom), float32 of
        shape ``(M, 4)``, and key points, float32 of shape ``(M, 17, 2)``.
    """
    seed, people = 0, []
    while len(people) < max(PEOPLE):
        image, people = render_image(
            np.random.default_rng(seed), IMAGE_SIZE, max(PEOPLE))
        seed += 1
    boxes = np.float32([person['bbox'] for person in people])
    boxes[:, 2:] += boxes[:, :2]
    keypoints = np.float32([person['keypoints'] for person in people])
    return image, boxes, keypoints.reshape(len(people), 17, 3)[..., :2]


def prepare_model(cfg: Config) -> nn.Module:
    """Build a network for MMPose's ``inference_topdown``, without flip test.

    Args:
        cfg (Config): A top-down config.

    Returns:
        nn.Module: The network, with random weights.

    Raises:
        ValueError: If the config is not top-down.
    """
    model = build_model(cfg).requires_grad_(False)
    model.cfg = cfg
    model.dataset_meta = dataset_meta_from_config(cfg, 'test')
    model.test_cfg = dict(model.test_cfg or {}, flip_test=False)
    return model


def read_call(image: np.ndarray) -> Callable:
    """Make a function that decodes a JPEG image from memory.

    Args:
        image (np.ndarray): BGR image, uint8 of shape ``(H, W, 3)``.

    Returns:
        callable: Takes nothing.
    """
    return partial(cv2.imdecode,
                   cv2.imencode('.jpg', image)[1], cv2.IMREAD_COLOR)


def draw_call(image: np.ndarray, keypoints: np.ndarray,
              dataset_meta: Dict[str, Any]) -> Callable:
    """Make a function that draws people with MMPose's visualizer.

    Args:
        image (np.ndarray): Image, uint8 of shape ``(H, W, 3)``.
        keypoints (np.ndarray): Key points (x, y) of shape ``(M, K, 2)``.
        dataset_meta (dict): The data set's names, links and colours.

    Returns:
        callable: Takes nothing.
    """
    visualizer = PoseLocalVisualizer()
    visualizer.set_dataset_meta(dataset_meta)
    sample = PoseDataSample(
        pred_instances=InstanceData(
            keypoints=keypoints, keypoint_scores=np.ones(keypoints.shape[:2])))
    return partial(
        visualizer.add_datasample, 'frame', image, sample, draw_gt=False)


def mmpose_calls(model: nn.Module, image: np.ndarray,
                 boxes: np.ndarray) -> Dict[str, Callable]:
    """Make functions that do what MMPose does with a frame, and parts of it.

    Args:
        model (nn.Module): What :func:`prepare_model` returns.
        image (np.ndarray): BGR image, uint8 of shape ``(H, W, 3)``.
        boxes (np.ndarray): Boxes of shape ``(M, 4)``.

    Returns:
        dict[str, callable]: ``whole``, and some of ``STAGES`` by name.
    """
    pipeline = Compose(model.cfg.test_dataloader.dataset.pipeline)

    def crop() -> list:
        return [
            pipeline(
                dict(
                    img=image,
                    bbox=box[None],
                    bbox_score=np.ones(1, np.float32),
                    **model.dataset_meta)) for box in boxes
        ]

    batch = pseudo_collate(crop())
    inputs = model.data_preprocessor(batch, False)['inputs']
    with torch.no_grad():
        maps = last_maps(model._forward(inputs))

    def decode() -> list:
        found = model.head.decode(maps if len(maps) > 1 else maps[0])
        return model.add_pred_to_datasample(found, None, batch['data_samples'])

    return dict(
        whole=partial(inference_topdown, model, image, boxes),
        crop=crop,
        normalize=partial(model.data_preprocessor, batch, False),
        network=partial(model._forward, inputs),
        decode=decode)


def export_graph(cfg: Config, model: nn.Module, folder: str) -> str:
    """Export a network that normalizes and decodes, and the parts of it.

    Args:
        cfg (Config): A top-down config.
        model (nn.Module): Its network.
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
                  boxes: np.ndarray) -> Dict[str, Callable]:
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
    calls = dict(
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
