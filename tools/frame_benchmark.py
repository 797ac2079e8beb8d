"""Time frames from the image file to the drawing, part by part, and videos.

The frame is rendered, 640x480, with one person and with four. The networks
have random weights, so the people that are drawn are those that were
rendered. `eager` is MMPose's `inference_topdown`, the others are the runtimes
below `PoseRuntime`. All are timed in one interleaved run.

With --video N, what `lgm-pose predict` does with a video of N frames is timed:
two people, an exported network, an exported RTMDet-nano, tracking, drawing,
and H.264. The weights are random, so network and detector run for their time
alone; boxes and key points are those that were rendered.
"""
import argparse
import os.path as osp
import shlex
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from functools import partial
from itertools import product
from typing import (Any, Callable, DefaultDict, Dict, Hashable, Iterator, List,
                    Sequence, Tuple)
from unittest.mock import patch

# Before MMPose, which then runs without its compiled packages.
import lgm_pose_plugin  # noqa: F401 isort:skip
import cv2
import mmpose
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

from lgm_pose_plugin.apis import predictor as pipeline
from lgm_pose_plugin.apis.coco_files import Boxes
from lgm_pose_plugin.apis.predictor import Predictor
from lgm_pose_plugin.apis.results import SourceWriter
from lgm_pose_plugin.apis.sources import Source, Video
from lgm_pose_plugin.apis.tracking import Tracker
from lgm_pose_plugin.apis.video_writer import VideoWriter
from lgm_pose_plugin.benchmark.report import markdown_table
from lgm_pose_plugin.benchmark.timing import (describe_environment,
                                              load_average, percentiles,
                                              time_call, time_interleaved)
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.export.detector import export_detector
from lgm_pose_plugin.export.graph import ExportedNetwork, describe
from lgm_pose_plugin.export.onnx_file import finish_onnx, to_onnx
from lgm_pose_plugin.models.builder import build_model, last_maps, load_config
from lgm_pose_plugin.models.detector_model import DetectorModel
from lgm_pose_plugin.runtime import pose_runtime
from lgm_pose_plugin.runtime.detector_runtime import DetectorRuntime
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
from lgm_pose_plugin.runtime.session import open_session
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.files import JsonListWriter, write_json
from lgm_pose_plugin.utils.machine import cpu_model
from lgm_pose_plugin.visualization.skeletons import Drawer

IMAGE_SIZE = (640, 480)
PEOPLE = (1, 4)
BACKENDS = ('eager', 'onnxruntime', 'openvino')
STAGES = ('read', 'crop', 'normalize', 'network', 'decode', 'draw')
Calls = Dict[str, Callable[[], Any]]
DETECTOR = osp.join(
    osp.dirname(mmpose.__file__), '.mim', 'demo', 'mmdetection_cfg',
    'rtmdet_nano_320-8xb32_coco-person.py')
# Of a video, in the order in which a frame passes them.
VIDEO_STAGES = ('decode', 'detect', 'crop', 'network', 'track', 'draw',
                'encode', 'write JSON')
SHIFT = 20  # pixels by which the picture of a video moves to either side
FPS = 25


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


class Stopwatch:
    """Adds up the time of functions.

    Attributes:
        wall (dict[str, float]): Seconds by name.
        cpu (dict[str, float]): Seconds of CPU time of the calling threads.
    """

    def __init__(self) -> None:
        self.wall: DefaultDict[str, float] = defaultdict(float)
        self.cpu: DefaultDict[str, float] = defaultdict(float)

    def timed(self, name: str, function: Callable) -> Callable:
        """Make a function that adds its time.

        Args:
            name (str): What to add it to.
            function (callable): The function.

        Returns:
            callable: The same, timed.
        """

        def call(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.wall[name] += time.perf_counter() - wall
                self.cpu[name] += time.thread_time() - cpu

        return call

    def timed_items(self, name: str, function: Callable) -> Callable:
        """The same for a generator function; the time is that of its items."""

        def items(*args: Any) -> Iterator[Any]:
            take = self.timed(name, partial(next, function(*args), None))
            yield from iter(take, None)

        return items


def shift(frame_id: int) -> int:
    """Tell how far the picture is moved to the right in a frame."""
    return SHIFT - abs(frame_id % (4 * SHIFT) - 2 * SHIFT)


def write_clip(path: str, image: np.ndarray, frames: int) -> None:
    """Write a video of a picture that moves.

    Args:
        path (str): The file, H.264 where PyAV has an encoder.
        image (np.ndarray): The picture.
        frames (int): How many frames.
    """
    with closing(VideoWriter(path, FPS)) as writer:
        for i in range(frames):
            writer.write(np.roll(image, shift(i), 1), i / FPS)


def export_random_detector(folder: str) -> str:
    """Export RTMDet-nano with random weights.

    They find as many boxes as a picture may have, so that NMS takes more time
    than with trained ones.

    Args:
        folder (str): Where the file goes.

    Returns:
        str: The file.
    """
    model = DetectorModel(DETECTOR, None, 'cpu').model
    for name, value in model.state_dict().items():
        if 'rtm_cls' in name and name.endswith('weight'):
            value.normal_(0, 1.5)
    weights, file = (
        osp.join(folder, f'detector.{suffix}') for suffix in ('pth', 'onnx'))
    torch.save(dict(meta={}, state_dict=model.state_dict()), weights)
    export_detector(DETECTOR, weights, file, samples=2)
    return file


def time_video(name: str, frames: int, find_every: int,
               threads: int) -> Dict[str, Any]:
    """Time what ``lgm-pose predict`` does with a video of two people.

    Args:
        name (str): A config, see
            :func:`~lgm_pose_plugin.models.builder.load_config`.
        frames (int): Frames of the video.
        find_every (int): The detector runs on every Nth frame.
        threads (int): Threads of each exported file.

    Returns:
        dict: ``per_second``, the frames per second; ``one_after_the_other``,
        the same where the stages do not overlap; ``cpu_ms``, the CPU time of
        the process per frame; ``stages``, of each of ``VIDEO_STAGES`` the
        milliseconds ``wall_ms`` and ``cpu_ms`` per frame; and ``parts``, the
        shares of normalization, network and decoding in the exported graph.

    Raises:
        ImportError: If a package is missing.
        ValueError: If the config cannot be exported.
    """
    image, boxes, keypoints = (one[:2] if i else one
                               for i, one in enumerate(rendered_frame()))
    sizes = boxes[:, 2:] - boxes[:, :2]
    relative = (keypoints - boxes[:, None, :2]) / sizes[:, None]
    seen = keypoints.any(2).astype(np.float32)
    cfg = load_config(name)
    with tempfile.TemporaryDirectory(prefix='lgm-pose-benchmark-') as folder:
        file = export_graph(cfg, prepare_model(cfg), folder)
        detector = DetectorRuntime(
            export_random_detector(folder), threads=threads)
        calls = runtime_calls(file, 'onnxruntime', threads, image, boxes)
        parts = {
            part: percentiles([time_call(calls[part]) for _ in range(30)])[1]
            for part in ('normalize', 'network', 'decode')
        }
        clip = osp.join(folder, 'clip.mp4')
        write_clip(clip, image, frames)

        def run(overlap: bool) -> Tuple[float, float, Stopwatch]:
            watch = Stopwatch()
            runtime = PoseRuntime(file, threads=threads)
            runtime.session = runtime.session._replace(
                run=watch.timed('network', runtime.session.run))
            detect = watch.timed('detect', detector)

            def find_people(frame: Any) -> Boxes:
                detect(frame.image)
                moved = boxes + np.float32([shift(frame.frame_id), 0] * 2)
                return Boxes(moved, np.ones(2, np.float32))

            def network(images: Any, found: Any) -> List[Any]:
                runtime.predict_batch(images, found)
                return [(one[:, None, :2] + relative *
                         (one[:, None, 2:] - one[:, None, :2]), seen)
                        for one in found]

            with ExitStack() as stack:
                for owner, method, stage in ((pose_runtime, 'crop_people',
                                              'crop'), (Tracker, 'update',
                                                        'track'),
                                             (Drawer, 'draw', 'draw'),
                                             (VideoWriter, 'write', 'encode'),
                                             (VideoWriter, 'close', 'encode'),
                                             (JsonListWriter, 'write',
                                              'write JSON')):
                    timed = watch.timed(stage, getattr(owner, method))
                    stack.enter_context(patch.object(owner, method, timed))
                stack.enter_context(
                    patch.object(Video, '__iter__',
                                 watch.timed_items('decode', Video.__iter__)))
                if not overlap:
                    stack.enter_context(
                        patch.object(pipeline, 'run_ahead',
                                     lambda items, size: items))
                predictor = Predictor(
                    network,
                    find_people,
                    runtime.metadata['skeleton'],
                    track=True,
                    find_every=find_every)
                source = Source('video', clip, 'clip.mp4')
                wall, cpu = time.perf_counter(), time.process_time()
                with closing(SourceWriter(folder, source)) as writer:
                    for result in predictor.predict([source]):
                        writer.write(result, result.draw())
                return (time.perf_counter() - wall, time.process_time() - cpu,
                        watch)

        run(True)  # imports and warms up
        alone, _, _ = run(False)
        wall, cpu, watch = run(True)
    return dict(
        network=name,
        frames=frames,
        find_every=find_every,
        threads=threads,
        per_second=frames / wall,
        one_after_the_other=frames / alone,
        cpu_ms=1000 * cpu / frames,
        parts={
            part: value / sum(parts.values())
            for part, value in parts.items()
        },
        stages={
            stage:
            dict(
                wall_ms=1000 * watch.wall[stage] / frames,
                cpu_ms=1000 * watch.cpu[stage] / frames)
            for stage in VIDEO_STAGES
        })


def video_table(result: Dict[str, Any]) -> str:
    """Tell where the time of a video goes.

    Args:
        result (dict): See :func:`time_video`.

    Returns:
        str: A table in Markdown, a row for each stage.
    """
    shares = result['parts']
    rows = []
    for stage, times in result['stages'].items():
        if stage == 'network':
            for part, label in (('normalize', 'normalize, in the graph'),
                                ('network', 'network'),
                                ('decode', 'decode key points, in the graph')):
                rows.append([
                    label, *(f'{shares[part] * times[key]:.2f}'
                             for key in ('cpu_ms', 'wall_ms'))
                ])
            continue
        rows.append(
            [stage, *(f'{times[key]:.2f}' for key in ('cpu_ms', 'wall_ms'))])
    told = sum(one['cpu_ms'] for one in result['stages'].values())
    rows.append([
        "all else: codecs' threads, Python", f'{result["cpu_ms"] - told:.2f}',
        ''
    ])
    rows.append([
        'whole frame', f'{result["cpu_ms"]:.2f}',
        f'{1000 / result["per_second"]:.2f}'
    ])
    return markdown_table(['stage', 'CPU ms', 'wall ms'], rows, left=1)


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
    parser.add_argument(
        '--video', type=int, metavar='N', help='time a video of N frames')
    parser.add_argument(
        '--det-every',
        type=int,
        default=5,
        metavar='N',
        help='of --video, run the detector on every Nth frame (default: '
        '%(default)s)')
    args = parser.parse_args()
    set_up_mmpose()
    if args.video:
        load = load_average()
        results = []
        for name in args.configs:
            result = time_video(name, args.video, args.det_every, args.threads)
            results.append(result)
            print('{network}: {per_second:.1f} frames per second, '
                  '{one_after_the_other:.1f} one stage after the other, '
                  '{cpu_ms:.1f} ms of CPU time a frame'.format(**result))
            print(video_table(result))
        report = dict(
            environment=describe_environment(load, args.threads, args.video),
            results=results)
    else:
        report = time_frames(args.configs, args.rounds, args.threads)
    report['environment'] = dict(
        command=shlex.join(['tools/frame_benchmark.py', *sys.argv[1:]]),
        **report['environment'])
    write_json(args.json, report, indent=2)


if __name__ == '__main__':
    main()
