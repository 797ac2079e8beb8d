"""Latency of networks against each other, timed in one interleaved run."""
import os
import os.path as osp
import platform
import random
import re
import time
from functools import partial
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import mmcv
import mmengine
import numpy as np
import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.model import revert_sync_batchnorm

import mmpose
from mmpose.models import TopdownPoseEstimator, build_pose_estimator
from .doctor import available_cpus
from .version import __version__

_OURS = f'{__package__}::body_2d_keypoint/topdown_heatmap/'
_THEIRS = 'mmpose::body_2d_keypoint/'

# Configs by short name; a config of another data set gets COCO's key points.
NETWORKS = {
    'lgm-pose': _OURS + 'coco/td-hm_lgm-pose_1xb32-260e_coco-256x192.py',
    'lgm-pose-l': _OURS + 'coco/td-hm_lgm-pose-l_1xb32-260e_coco-256x192.py',
    'lgm-pose-b': _OURS + 'coco/td-hm_lgm-pose-b_1xb32-260e_coco-256x192.py',
    'lgm-pose-mobilevit':
    _OURS + 'ablation/td-hm_lgm-pose-mobilevit_1xb32-260e_mpii-256x256.py',
    'lapx': _OURS + 'coco/td-hm_lapx_8xb64-210e_coco-256x192.py',
    'lap': _OURS + 'coco/td-hm_lap_8xb64-210e_coco-256x192.py',
    'mobilenetv2': _THEIRS + 'topdown_heatmap/coco/'
    'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
    'litehrnet-18': _THEIRS + 'topdown_heatmap/coco/'
    'td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
    'rtmpose-t':
    _THEIRS + 'rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py',
}
MEMORY_FORMATS = dict(
    contiguous=torch.contiguous_format, channels_last=torch.channels_last)


class Result(NamedTuple):
    """Size and latency of one network.

    Attributes:
        name (str): The network's name, as it was asked for.
        params (int): Number of parameters.
        macs (int): Multiply-adds of one forward pass of one image.
        median_ms (float): Median time of a forward pass, in milliseconds.
        p10_ms (float): 10th percentile of the times.
        p90_ms (float): 90th percentile of the times.
        ratio (float): Median as a multiple of the baseline's.
        images_per_second (float): Images per second at the median.
    """
    name: str
    params: int
    macs: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float
    images_per_second: float


def load_config(name: str) -> Config:
    """Load a config.

    Args:
        name (str): A short name (a key of ``NETWORKS``), a path, or a path
            inside a package's configs, as ``mmpose::body_2d_keypoint/...``.

    Returns:
        Config: The config.

    Raises:
        ValueError: If there is no such config.
    """
    path = NETWORKS.get(name, name)
    scope, separator, inner = path.partition('::')
    # MMEngine's get_config would install packages that are missing.
    if separator and scope in ('mmpose', __package__):
        path = osp.join(
            BaseInferencer._get_repo_or_mim_dir(scope), 'configs', inner)
    if not osp.isfile(path):
        raise ValueError(f'there is no config {name!r}; give a path, '
                         "'mmpose::body_2d_keypoint/...py' or one of "
                         f'{", ".join(NETWORKS)}')
    cfg = Config.fromfile(path)
    if name in NETWORKS:
        cfg.model.head.out_channels = 17
    return cfg


def build_network(name: str, input_size: Tuple[int, int]) -> torch.nn.Module:
    """Build a config's network, with random weights and in eval mode.

    Args:
        name (str): See :func:`load_config`.
        input_size (tuple[int, int]): Height and width the network is built
            for, whatever its config says.

    Returns:
        nn.Module: The network, whose ``forward`` takes images of shape
        ``(B, 3, H, W)``: backbone, neck and head, without preprocessing, flip
        test or decoding.

    Raises:
        ValueError: If there is no such config or it has no top-down network.
    """
    cfg = load_config(name).get('model', {})
    decoder = cfg.get('head', {}).get('decoder', {})
    width, height = decoder.get('input_size', input_size[::-1])
    _rescale(cfg, (input_size[1] / width, input_size[0] / height))
    # Without init_weights(), which would download the backbone's.
    model = build_pose_estimator(cfg) if 'type' in cfg else None
    if not isinstance(model, TopdownPoseEstimator):
        raise ValueError(f'{name} is no config of a top-down network')
    model = revert_sync_batchnorm(model).eval()
    model.forward = model._forward
    return model


def _rescale(cfg: dict, scale: Tuple[float, float]) -> None:
    """Scale the sizes (width, height) in a model's config."""
    for key, value in cfg.items():
        if key in ('input_size', 'heatmap_size', 'in_featuremap_size'):
            cfg[key] = tuple(round(a * b) for a, b in zip(value, scale))
        elif isinstance(value, dict):
            _rescale(value, scale)


def time_interleaved(
        calls: Dict[str, Callable],
        rounds: int,
        warmup: int = 20,
        clock: Callable = time.perf_counter) -> Dict[str, List[float]]:
    """Time functions in turn, so that drift of the machine meets all alike.

    Args:
        calls (dict[str, callable]): The functions by name, without arguments.
        rounds (int): Number of rounds; each calls every function once, in an
            order of its own.
        warmup (int): Number of further rounds before them, not counted.
            Defaults to 20.
        clock (callable): Returns seconds. Defaults to ``time.perf_counter``.

    Returns:
        dict[str, list[float]]: Seconds of each counted call by name.
    """
    order, shuffler = list(calls), random.Random(0)
    seconds: Dict[str, List[float]] = {name: [] for name in calls}
    for _ in range(warmup + rounds):
        shuffler.shuffle(order)
        for name in order:
            start = clock()
            calls[name]()
            seconds[name].append(clock() - start)
    return {name: values[warmup:] for name, values in seconds.items()}


def run_benchmark(names: Sequence[str] = tuple(NETWORKS),
                  *,
                  input_size: Tuple[int, int] = (256, 192),
                  batch: int = 1,
                  threads: int = 1,
                  rounds: int = 200,
                  warmup: int = 20,
                  baseline: Optional[str] = None,
                  memory_format: str = 'contiguous') -> dict:
    """Time networks in eager PyTorch on the CPU, in float32.

    Args:
        names (Sequence[str]): Configs, see :func:`load_config`. Defaults to
            all of ``NETWORKS``.
        input_size (tuple[int, int]): Height and width of the images. Defaults
            to ``(256, 192)``.
        batch (int): Images per forward pass. Defaults to 1.
        threads (int): Threads PyTorch may use. Defaults to 1.
        rounds (int): Timed forward passes of each network. Defaults to 200.
        warmup (int): Forward passes of each before them. Defaults to 20.
        baseline (str, optional): Which of ``names`` the ratios refer to.
            Defaults to the first.
        memory_format (str): ``'contiguous'`` or ``'channels_last'``, for all
            networks alike. Defaults to ``'contiguous'``.

    Returns:
        dict: ``environment``, a dict of what the times depend on, and
        ``results``, a list of :class:`Result`.

    Raises:
        ValueError: If an argument is out of range, or a config is unknown or
            not top-down.
    """
    for key, value in dict(
            batch=batch, threads=threads, rounds=rounds).items():
        if value < 1:
            raise ValueError(f'{key} must be at least 1, got {value}')
    names = list(dict.fromkeys(names))
    baseline = baseline or names[0]
    if baseline not in names:
        raise ValueError(f'baseline {baseline!r} is not among the networks '
                         f'{", ".join(names)}')
    load = _load_average()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layout = MEMORY_FORMATS[memory_format]
    inputs = torch.randn(batch, 3, *input_size).to(memory_format=layout)
    networks, macs, calls = {}, {}, {}
    for name in names:
        networks[name] = network = build_network(name, input_size)
        macs[name] = get_model_complexity_info(
            network, (3, *input_size), show_table=False,
            show_arch=False)['flops']
        calls[name] = partial(network.to(memory_format=layout), inputs)
    with torch.inference_mode():
        seconds = time_interleaved(calls, rounds, warmup)
    medians = {name: np.median(values) for name, values in seconds.items()}
    results = []
    for name, network in networks.items():
        p10, p90 = 1e3 * np.percentile(seconds[name], (10, 90))
        results.append(
            Result(name, sum(p.numel() for p in network.parameters()),
                   macs[name], 1e3 * medians[name], p10, p90,
                   medians[name] / medians[baseline], batch / medians[name]))
    cores = available_cpus()
    environment = {
        'date': time.strftime('%Y-%m-%d %H:%M'),
        'CPU': cpu_model(),
        'cores': cores,
        'threads': threads,
        'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS'),
        'load average': [load, _load_average()],
        'batch': batch,
        'input (HxW)': '{}x{}'.format(*input_size),
        'precision': 'float32',
        'memory format': memory_format,
        'flip test': 'no',
        'rounds': rounds,
        'warm-up rounds': warmup,
        'baseline': baseline,
        'lgm_pose_plugin': __version__,
        'torch': torch.__version__,
        'mmpose': mmpose.__version__,
        'mmcv': mmcv.__version__,
        'mmengine': mmengine.__version__,
        # This process itself was at work before: half a core is not "busy".
        'busy': load > cores - threads + .5,
    }
    return dict(environment=environment, results=results)


def _load_average() -> float:
    """Processes at work in the last minute; 0 where it is not known."""
    return round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else 0.


def cpu_model() -> str:
    """The CPU's name, which ``platform`` does not tell on Linux."""
    if osp.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            found = re.search(r'model name\s*: (.+)', file.read())
        if found:
            return found.group(1)
    return platform.processor() or platform.machine()
