"""Latency of networks against each other, timed in one interleaved run."""
import os
import os.path as osp
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any, Dict, Hashable, NamedTuple, Sequence, Tuple

import torch
from torch import nn

from lgm_pose_plugin.analysis.complexity import count_macs
from lgm_pose_plugin.model_index import NETWORKS
from lgm_pose_plugin.utils.errors import describe_error
from lgm_pose_plugin.utils.machine import available_cpus, cpu_model
from . import BACKENDS, EAGER_BACKENDS
from .networks import build_network
from .timing import (describe_environment, load_average, percentiles,
                     time_interleaved)
from .worker import MATMUL_SIZE, Worker

CALIBRATION_IMAGES = 8
FIGURES = ('p10_ms', 'median_ms', 'p90_ms', 'ratio', 'images_per_second',
           'matmul_share', 'peak_memory_mb')


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


def run_benchmark(
        names: Sequence[str] = tuple(NETWORKS),
        backends: Sequence[str] = ('eager', ),
        *,
        input_size: Tuple[int, int] = (256, 192),
        threads: Sequence[int] = (1, ),
        batches: Sequence[int] = (1, ),
        rounds: int = 200,
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
        baseline (Sequence[str]): Which of ``names``, and which of
            ``backends``, the ratios refer to. Defaults to the first of each.

    Returns:
        dict: ``environment``, a dict of what the times depend on, and
        ``results``, a list of dicts with these keys:

        - ``network``, ``backend``, ``threads``, ``batch``: See
          :class:`Entry`.
        - ``precision`` (str): ``'float32'`` or ``'int8'``.
        - ``flip`` (bool): Whether images are also run mirrored: ``False``.
        - ``device`` (str): The CPU's name.
        - ``input_size``, ``rounds``: The arguments.
        - ``params`` (int), ``macs`` (int): Number of parameters, and of
          multiply-adds of one image.
        - ``runtime`` (str): Name and version of the runtime.
        - ``error`` (str, optional): Why the figures below are ``None``.
        - ``p10_ms``, ``median_ms``, ``p90_ms`` (float): Percentiles of the
          times of a forward pass, in milliseconds.
        - ``ratio`` (float, optional): Median as a multiple of the baseline's
          with the same threads and batch.
        - ``images_per_second`` (float): Images per second at the median.
        - ``matmul_share`` (float, optional): Multiply-adds per second as a
          share of those of a large matrix product with the same threads.
        - ``peak_memory_mb`` (float, optional): Peak memory of the network's
          process, in units of 1e6 bytes.

    Raises:
        ImportError: If a package that exports is missing.
        ValueError: If an argument is out of range, or a config is unknown or
            not top-down.
    """
    for backend in backends:
        if backend not in BACKENDS:
            raise ValueError(f'there is no backend {backend!r}; choose some '
                             f'of {", ".join(BACKENDS)}')
    if min(*threads, *batches, rounds) < 1:
        raise ValueError('threads, batch and rounds must be at least 1')
    baseline = choose_baseline(names, backends, baseline)
    load = load_average()
    networks = {name: build_network(name, input_size) for name in names}
    # Counted before the export, which would change the number.
    facts = {
        name:
        dict(
            params=sum(p.numel() for p in network.parameters()),
            macs=int(sum(count_macs(network, input_size).values())))
        for name, network in networks.items()
    }
    entries = list(
        dict.fromkeys(
            Entry(name, backend, count, batch) for count in threads
            for batch in batches for backend in backends for name in names))
    with tempfile.TemporaryDirectory(prefix='lgm-pose-benchmark-') as folder:
        tasks, found = prepare_tasks(entries, networks, input_size, folder)
        for count in threads:
            tasks[count] = dict(opener='matmul', threads=count)
        found.update(time_tasks(tasks, rounds))
    device = cpu_model()
    # Multiply-adds per millisecond of the matrix product.
    products = {
        count: MATMUL_SIZE**3 / found[count]['median_ms']
        for count in threads if 'median_ms' in found[count]
    }
    results = []
    for entry in entries:
        row: Dict[str, Any] = dict(
            entry._asdict(),
            precision='int8' if entry.backend.endswith('int8') else 'float32',
            flip=False,
            device=device,
            input_size=input_size,
            rounds=rounds,
            **facts[entry.network],
            runtime='',
            error=None,
            **dict.fromkeys(FIGURES))
        row.update(found[entry])
        if row['median_ms']:
            other = found[entry._replace(
                network=baseline[0], backend=baseline[1])].get('median_ms')
            per_ms = entry.batch / row['median_ms']
            product = products.get(entry.threads)
            row.update(
                ratio=other and row['median_ms'] / other,
                images_per_second=1e3 * per_ms,
                matmul_share=product and row['macs'] * per_ms / product)
        results.append(row)
    environment = {
        **describe_environment(load, max(threads), rounds), 'threads': threads,
        'batch': batches,
        'input (HxW)': '{}x{}'.format(*input_size),
        'baseline': ' '.join(baseline),
        f'float32 matrix product of {MATMUL_SIZE}^3 (GMAC/s)': {
            count: round(product / 1e6, 1)
            for count, product in products.items()
        }
    }
    return dict(environment=environment, results=results)


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
        ValueError: If the baseline is not among them.
    """
    chosen = (*baseline, *(names[0], backends[0])[len(baseline):])
    if len(chosen) != 2 or chosen[0] not in names or chosen[1] not in backends:
        raise ValueError(f'baseline {" ".join(chosen)!r} is not one of the '
                         f'networks {", ".join(names)} and one of the '
                         f'backends {", ".join(backends)}')
    return chosen


Found = Dict[Hashable, Dict[str, Any]]


def time_tasks(tasks: Dict[Hashable, Dict[str, Any]], rounds: int) -> Found:
    """Run tasks in turn, each in a process of its own.

    Args:
        tasks (dict[Any, dict]): Tasks of
            :class:`~lgm_pose_plugin.benchmark.worker.Worker` by name.
        rounds (int): Timed runs of each.

    Returns:
        dict[Any, dict]: By name ``runtime``, and either ``error`` or
        ``p10_ms``, ``median_ms``, ``p90_ms`` and ``peak_memory_mb``, see
        :func:`run_benchmark`.
    """
    with ExitStack() as stack:
        with ThreadPoolExecutor(max(1, int(available_cpus()))) as pool:
            workers = {
                key: stack.enter_context(closing(worker))
                for key, worker in zip(tasks, pool.map(Worker, tasks.values()))
            }
        seconds = time_interleaved(
            {
                key: worker.run
                for key, worker in workers.items()
            }, rounds)
    found: Found = {}
    for key, worker in workers.items():
        found[key] = dict(runtime=worker.runtime)
        if worker.error:
            found[key]['error'] = worker.error
            continue
        p10, median, p90 = percentiles(seconds[key])
        peak = worker.peak_bytes
        found[key].update(
            p10_ms=p10,
            median_ms=median,
            p90_ms=p90,
            peak_memory_mb=peak and peak / 1e6)
    return found


def prepare_tasks(entries: Sequence[Entry], networks: Dict[str, nn.Module],
                  input_size: Tuple[int, int],
                  folder: str) -> Tuple[Dict[Hashable, Dict[str, Any]], Found]:
    """Export what has to be exported, and say what the workers do.

    Args:
        entries (Sequence[Entry]): What is timed.
        networks (dict[str, nn.Module]): The networks by name.
        input_size (tuple[int, int]): Height and width of the images.
        folder (str): Where exported files go.

    Returns:
        tuple[dict, dict]: By entry the tasks for :func:`time_tasks`, and
        ``error`` of what could not be exported.

    Raises:
        ImportError: If a package that exports is missing.
    """
    tasks: Dict[Hashable, Dict[str, Any]] = {}
    failed: Found = {}
    for entry in entries:
        task: Dict[str, Any] = dict(
            batch=entry.batch, input_size=input_size, threads=entry.threads)
        if entry.backend in EAGER_BACKENDS:
            task.update(
                opener='torch', network=entry.network, mode=entry.backend)
        else:
            place = f'{list(networks).index(entry.network)}-{entry.batch}'
            try:
                file = export_file(networks[entry.network], entry.backend,
                                   entry.batch, input_size,
                                   osp.join(folder, place))
            except ImportError:
                raise
            # Exporters raise whatever they come across.
            except Exception as error:
                failed[entry] = dict(error=describe_error(error))
                continue
            task.update(
                opener='exported',
                file=file,
                runtime=entry.backend.partition('-')[0])
        tasks[entry] = task
    return tasks, failed


def export_file(network: nn.Module, backend: str, batch: int,
                input_size: Tuple[int, int], folder: str) -> str:
    """Export a network, without normalization and decoding.

    Args:
        network (nn.Module): A top-down network.
        backend (str): One of ``BACKENDS`` that runs exported files.
        batch (int): Images per forward pass, fixed in the file.
        input_size (tuple[int, int]): Height and width of the images.
        folder (str): The network's folder for files of this batch. What is
            there is not written again.

    Returns:
        str: The file.

    Raises:
        ImportError: If a package that exports is missing.
        Exception: Whatever exporters raise of the network.
    """
    from lgm_pose_plugin.export.graph import ExportedNetwork
    from lgm_pose_plugin.export.onnx_file import (output_names, split_elus,
                                                  write_onnx)
    from lgm_pose_plugin.export.openvino_file import (read_openvino,
                                                      save_openvino)
    from lgm_pose_plugin.export.quantize import (quantize_onnx,
                                                 quantize_openvino)
    os.makedirs(folder, exist_ok=True)
    # As the workers run them: speed is measured here, not accuracy.
    images = torch.randn(max(CALIBRATION_IMAGES, batch), 3, *input_size)
    source = osp.join(folder, 'source.onnx')
    if not osp.exists(source):
        graph = ExportedNetwork(network, normalize=False, decode=False)
        _, maps = output_names(graph, images[:batch])
        write_onnx(graph, images[:batch], source, maps, dynamic=False)
    suffix = '.xml' if backend.startswith('openvino') else '.onnx'
    file = osp.join(folder, backend + suffix)
    if not osp.exists(file):
        if backend == 'openvino':
            save_openvino(read_openvino(source), file)
        elif backend == 'openvino-int8':
            quantize_openvino(source, file, images.numpy())
        else:
            split_elus(source, file)
            if backend == 'onnxruntime-int8':
                quantize_onnx(file, file, images.numpy())
    return file
