"""Latency of networks against each other, timed in one interleaved run."""
import os
import os.path as osp
import platform
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import (Any, Callable, Dict, List, NamedTuple, Optional, Sequence,
                    Tuple)

import cv2
import mmcv
import mmengine
import mmpose
import numpy as np
import torch
from mmpose.structures import PoseDataSample
from torch import nn

from lgm_pose_plugin.analysis.complexity import count_macs
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.utils.machine import available_cpus, cpu_model
from lgm_pose_plugin.utils.progress import with_bar
from lgm_pose_plugin.version import __version__
from .networks import NETWORKS, build_network, published_ap
from .worker import MATMUL_SIZE, Worker, describe_error

EAGER_BACKENDS = ('eager', 'channels_last', 'compile')
EXPORTED_BACKENDS = ('onnxruntime', 'openvino', 'onnxruntime-int8',
                     'openvino-int8')
BACKENDS = EAGER_BACKENDS + EXPORTED_BACKENDS
# Speed is measured here, not accuracy: these many calibrate well enough.
CALIBRATION_IMAGES = 8


class Entry(NamedTuple):
    """What is timed.

    Attributes:
        network (str): The network's name, as it was asked for.
        backend (str): One of ``BACKENDS``.
        threads (int): Threads the runtime may use.
        batch (int): Images per forward pass.
    """
    network: str
    backend: str
    threads: int
    batch: int


class Result(NamedTuple):
    """Size, speed and memory of one network in one runtime.

    Attributes:
        network (str): See :class:`Entry`.
        backend (str): As ``network``.
        threads (int): As ``network``.
        batch (int): As ``network``.
        precision (str): ``'float32'`` or ``'int8'``.
        flip (bool): Whether images are also run mirrored: ``False``.
        device (str): The CPU's name.
        runtime (str): Name and version of the runtime.
        input_size (tuple[int, int]): Height and width of the images.
        rounds (int): Number of timed forward passes.
        params (int): Number of parameters.
        macs (int): Multiply-adds of one image.
        published_ap (float, optional): COCO AP in percent, see
            :func:`~lgm_pose_plugin.benchmark.networks.published_ap`.
        ap_source (str): Where it stands.
        error (str, optional): Why there are no figures; those below are
            ``None`` then.
        median_ms (float): Median time of a forward pass, in milliseconds.
        p10_ms (float): 10th percentile of the times.
        p90_ms (float): 90th percentile of the times.
        ratio (float, optional): Median as a multiple of the baseline's with
            the same threads and batch.
        images_per_second (float): Images per second at the median.
        matmul_share (float): Multiply-adds per second as a share of those of
            a large matrix product with the same threads.
        peak_memory_mb (float, optional): Peak memory of the network's
            process, in units of 1e6 bytes.
    """
    network: str
    backend: str
    threads: int
    batch: int
    precision: str
    flip: bool
    device: str
    runtime: str
    input_size: Tuple[int, int]
    rounds: int
    params: int
    macs: int
    published_ap: Optional[float]
    ap_source: str
    error: Optional[str] = None
    median_ms: Optional[float] = None
    p10_ms: Optional[float] = None
    p90_ms: Optional[float] = None
    ratio: Optional[float] = None
    images_per_second: Optional[float] = None
    matmul_share: Optional[float] = None
    peak_memory_mb: Optional[float] = None


def time_interleaved(calls: Dict[Any, Callable], rounds: int,
                     warmup: int) -> Dict[Any, List[float]]:
    """Time calls in turn, so that drift of the machine meets all alike.

    Args:
        calls (dict[Any, callable]): By name; each returns the seconds it
            took.
        rounds (int): Number of rounds; each calls everything once, in an
            order of its own.
        warmup (int): Number of further rounds before them, not counted.

    Returns:
        dict[Any, list[float]]: Seconds of each counted call by name.
    """
    order, shuffler = list(calls), random.Random(0)
    seconds: Dict[Any, List[float]] = {name: [] for name in calls}
    for _ in with_bar(range(warmup + rounds), unit='round'):
        shuffler.shuffle(order)
        for name in order:
            seconds[name].append(calls[name]())
    return {name: values[warmup:] for name, values in seconds.items()}


def run_benchmark(
        names: Sequence[str] = tuple(NETWORKS),
        backends: Sequence[str] = ('eager', ),
        *,
        input_size: Tuple[int, int] = (256, 192),
        threads: Sequence[int] = (1, ),
        batches: Sequence[int] = (1, ),
        rounds: int = 200,
        warmup: Optional[int] = None,
        baseline: Sequence[str] = (),
) -> Dict[str, Any]:
    """Time networks with random weights in several runtimes on the CPU.

    Each combination of network, backend, threads and batch has a process of
    its own; all are alive at once and run in turn. What cannot be exported,
    compiled or run is reported as such.

    Args:
        names (Sequence[str]): Configs, see
            :func:`~lgm_pose_plugin.models.builder.load_config`. Defaults to
            all of ``NETWORKS``.
        backends (Sequence[str]): Some of ``BACKENDS``. Defaults to
            ``('eager', )``.
        input_size (tuple[int, int]): Height and width of the images. Defaults
            to ``(256, 192)``.
        threads (Sequence[int]): Numbers of threads. Defaults to ``(1, )``.
        batches (Sequence[int]): Images per forward pass. Defaults to
            ``(1, )``.
        rounds (int): Timed forward passes of each. Defaults to 200.
        warmup (int, optional): Forward passes of each before them.
            Defaults to a tenth of the rounds, at least 2.
        baseline (Sequence[str]): Which of ``names``, and which of
            ``backends``, the ratios refer to. Defaults to the first of each.

    Returns:
        dict: ``environment``, a dict of what the times depend on, and
        ``results``, a list of :class:`Result`.

    Raises:
        ImportError: If a package that exports is missing.
        ValueError: If an argument is out of range, or a config is unknown or
            not top-down.
    """
    names, backends, threads, batches = (
        list(dict.fromkeys(values))
        for values in (names, backends, threads, batches))
    check_positive(threads=min(threads), batch=min(batches), rounds=rounds)
    baseline = choose_baseline(names, backends, baseline)
    warmup = max(2, rounds // 10) if warmup is None else warmup
    load = load_average()
    networks = {name: build_network(name, input_size) for name in names}
    facts = {
        name: describe_network(name, network, input_size)
        for name, network in networks.items()
    }
    entries = [
        Entry(name, backend, count, batch) for count in threads
        for batch in batches for backend in backends for name in names
    ]
    with tempfile.TemporaryDirectory(prefix='lgm-pose-benchmark-') as folder:
        tasks, errors = prepare_tasks(entries, networks, input_size, folder)
        for count in threads:
            tasks[count] = dict(opener='matmul', threads=count)
        with ExitStack() as stack:
            with ThreadPoolExecutor(max(1, int(available_cpus()))) as pool:
                workers = {
                    key: stack.enter_context(closing(worker))
                    for key, worker in zip(tasks,
                                           pool.map(Worker, tasks.values()))
                }
            seconds = time_interleaved(
                {
                    key: worker.run
                    for key, worker in workers.items()
                }, rounds, warmup)
    errors.update({
        key: worker.error
        for key, worker in workers.items() if worker.error
    })
    medians = {
        key: float(np.median(values))
        for key, values in seconds.items() if key not in errors
    }
    device = cpu_model()
    results = []
    for entry in entries:
        result = Result(
            *entry,
            **facts[entry.network],
            precision='int8' if entry.backend.endswith('int8') else 'float32',
            flip=False,
            device=device,
            runtime=workers[entry].runtime if entry in workers else '',
            input_size=input_size,
            rounds=rounds,
            error=errors.get(entry))
        if entry in medians:
            median = medians[entry]
            p10, p90 = 1e3 * np.percentile(seconds[entry], (10, 90))
            reference = medians.get(
                entry._replace(network=baseline[0], backend=baseline[1]))
            matmul = medians.get(entry.threads)
            peak = workers[entry].peak_bytes
            result = result._replace(
                median_ms=1e3 * median,
                p10_ms=float(p10),
                p90_ms=float(p90),
                ratio=reference and median / reference,
                images_per_second=entry.batch / median,
                matmul_share=matmul and result.macs * entry.batch / median /
                (MATMUL_SIZE**3 / matmul),
                peak_memory_mb=peak and peak / 1e6)
        results.append(result)
    environment = {
        **describe_environment(load, max(threads)), 'threads': threads,
        'batch': batches,
        'input (HxW)': '{}x{}'.format(*input_size),
        'flip test': 'no',
        'rounds': rounds,
        'warm-up rounds': warmup,
        'baseline': ' '.join(baseline),
        f'float32 matrix product of {MATMUL_SIZE}^3 (GMAC/s)': {
            count: round(MATMUL_SIZE**3 / medians[count] / 1e9, 1)
            for count in threads if count in medians
        }
    }
    return dict(environment=environment, results=results)


def check_positive(**values: int) -> None:
    """Check that numbers are at least 1.

    Args:
        **values (int): The numbers.

    Raises:
        ValueError: If one is not.
    """
    for name, value in values.items():
        if value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')


def choose_baseline(names: Sequence[str], backends: Sequence[str],
                    baseline: Sequence[str]) -> Tuple[str, str]:
    """Find what the ratios refer to.

    Args:
        names (Sequence[str]): The networks.
        backends (Sequence[str]): The backends.
        baseline (Sequence[str]): One of ``names``, one of ``backends``, or
            less; what is left out is the first.

    Returns:
        tuple[str, str]: The network and the backend.

    Raises:
        ValueError: If the backends or the baseline are unknown.
    """
    for backend in backends:
        if backend not in BACKENDS:
            raise ValueError(f'unknown backend {backend!r}, choose some of '
                             f'{", ".join(BACKENDS)}')
    chosen = (*baseline, *(names[0], backends[0])[len(baseline):])
    if len(chosen) != 2 or chosen[0] not in names or chosen[1] not in backends:
        raise ValueError(f'baseline {" ".join(chosen)!r} is not one of the '
                         f'networks {", ".join(names)} and one of the '
                         f'backends {", ".join(backends)}')
    return chosen


def describe_network(name: str, network: nn.Module,
                     input_size: Tuple[int, int]) -> Dict[str, Any]:
    """Say what does not depend on backend, threads and batch.

    Args:
        name (str): The network's name.
        network (nn.Module): The network.
        input_size (tuple[int, int]): Height and width of the images.

    Returns:
        dict: ``params``, ``macs``, ``published_ap`` and ``ap_source`` of
        :class:`Result`.
    """
    ap, source = published_ap(name, input_size)
    return dict(
        params=sum(p.numel() for p in network.parameters()),
        macs=int(sum(count_macs(network, input_size).values())),
        published_ap=ap,
        ap_source=source)


def prepare_tasks(entries: Sequence[Entry], networks: Dict[str, nn.Module],
                  input_size: Tuple[int, int],
                  folder: str) -> Tuple[Dict[Any, dict], Dict[Any, str]]:
    """Export what has to be exported, and say what the workers do.

    Args:
        entries (Sequence[Entry]): What is timed.
        networks (dict[str, nn.Module]): The networks by name.
        input_size (tuple[int, int]): Height and width of the images.
        folder (str): Where exported files go.

    Returns:
        tuple[dict, dict]: By entry the tasks of
        :class:`~lgm_pose_plugin.benchmark.worker.Worker`, and the errors of
        what could not be exported.

    Raises:
        ImportError: If a package that exports is missing.
    """
    tasks: Dict[Any, dict] = {}
    errors: Dict[Any, str] = {}
    exports: Dict[Any, Dict[str, Tuple[str, Optional[str]]]] = {}
    exported = [
        backend for backend in EXPORTED_BACKENDS
        if backend in {entry.backend
                       for entry in entries}
    ]
    for entry in entries:
        common = dict(
            batch=entry.batch, input_size=input_size, threads=entry.threads)
        if entry.backend in EAGER_BACKENDS:
            tasks[entry] = dict(
                common,
                opener='torch',
                network=entry.network,
                mode=entry.backend)
            continue
        key = entry.network, entry.batch
        if key not in exports:
            exports[key] = export_files(networks[entry.network], exported,
                                        entry.batch, input_size,
                                        osp.join(folder, f'{len(exports)}'))
        file, error = exports[key][entry.backend]
        if error:
            errors[entry] = error
        else:
            tasks[entry] = dict(
                common,
                opener='exported',
                file=file,
                runtime=entry.backend.partition('-')[0])
    return tasks, errors


def export_files(network: nn.Module, backends: Sequence[str], batch: int,
                 input_size: Tuple[int, int],
                 folder: str) -> Dict[str, Tuple[str, Optional[str]]]:
    """Export a network, without normalization and decoding.

    Args:
        network (nn.Module): A top-down network.
        backends (Sequence[str]): Some of ``EXPORTED_BACKENDS``.
        batch (int): Images per forward pass, fixed in the files.
        input_size (tuple[int, int]): Height and width of the images.
        folder (str): The folder to make for the files.

    Returns:
        dict[str, tuple]: By backend its file, and why that was not written or
        ``None``.

    Raises:
        ImportError: If a package that exports is missing.
    """
    from lgm_pose_plugin.export.graph import ExportedNetwork
    from lgm_pose_plugin.export.onnx_file import to_onnx
    from lgm_pose_plugin.export.openvino_file import (read_openvino,
                                                      save_openvino)
    from lgm_pose_plugin.export.quantize import (quantize_onnx,
                                                 quantize_openvino)
    os.mkdir(folder)
    source, xml, int8, int8_xml = (
        osp.join(folder, name)
        for name in ('float32.onnx', 'float32.xml', 'int8.onnx', 'int8.xml'))
    images = rendered_images(network, max(CALIBRATION_IMAGES, batch),
                             input_size)
    writers = {
        'onnxruntime': (source, lambda: to_onnx(
            ExportedNetwork(network, normalize=False, decode=False),
            images[:batch],
            source,
            dynamic=False)),
        'openvino': (xml, lambda: save_openvino(read_openvino(source), xml)),
        'onnxruntime-int8':
        (int8, lambda: quantize_onnx(source, int8, images.numpy())),
        'openvino-int8':
        (int8_xml,
         lambda: quantize_openvino(source, int8_xml, images.numpy())),
    }
    files: Dict[str, Tuple[str, Optional[str]]] = {}
    # The first is what the others are made of.
    for backend in dict.fromkeys(['onnxruntime', *backends]):
        file, write = writers[backend]
        error = files['onnxruntime'][1] if files else None
        if error is None:
            try:
                write()
            # Exporters raise whatever they come across.
            except Exception as exception:
                error = describe_error(exception)
        files[backend] = file, error
    return files


def rendered_images(network: nn.Module, count: int,
                    input_size: Tuple[int, int]) -> torch.Tensor:
    """Render people as a network takes them.

    Args:
        network (nn.Module): A top-down network.
        count (int): Number of images.
        input_size (tuple[int, int]): Their height and width.

    Returns:
        Tensor: Normalized images of shape ``(count, 3, H, W)``.
    """
    images = [
        cv2.resize(
            render_image(np.random.default_rng(i))[0], input_size[::-1])
        for i in range(count)
    ]
    batch = dict(
        inputs=[torch.from_numpy(image).permute(2, 0, 1) for image in images],
        data_samples=[PoseDataSample() for _ in images])
    return network.data_preprocessor(batch, False)['inputs']


def describe_environment(load: float, threads: int) -> Dict[str, Any]:
    """Say what times depend on.

    Args:
        load (float): :func:`load_average` when the work began.
        threads (int): The most threads that are used.

    Returns:
        dict: Date, machine and versions, and whether the machine was busy.
    """
    cores = available_cpus()
    return {
        'date': time.strftime('%Y-%m-%d %H:%M'),
        'CPU': cpu_model(),
        'cores': cores,
        'load average': [load, load_average()],
        # This process itself was at work before: half a core is not "busy".
        'busy': load > cores - threads + .5,
        'python': platform.python_version(),
        'lgm_pose_plugin': __version__,
        **{
            module.__name__: module.__version__
            for module in (torch, mmpose, mmcv, mmengine)
        }
    }


def load_average() -> float:
    """Count processes at work.

    Returns:
        float: Their number in the last minute; 0 where it is not known.
    """
    return round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else 0.
