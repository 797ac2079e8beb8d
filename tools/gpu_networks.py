"""Measure networks on a GPU, for tools/check_gpu.py.

Weights are random, images of 256x192. Steps give rows; a row has the key
``error`` if something in it failed.
"""
import copy
from functools import lru_cache, partial
from itertools import product
from typing import Any, Callable, Dict, Iterator, List, Sequence

import torch
from torch import Tensor

from lgm_pose_plugin.benchmark.networks import build_network, random_images
from lgm_pose_plugin.benchmark.timing import (percentiles, time_call,
                                              time_interleaved)
from lgm_pose_plugin.model_index import NETWORKS
from lgm_pose_plugin.models.layers import LARM, FastLARM
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.errors import describe_error
from lgm_pose_plugin.utils.files import write_json

Row = Dict[str, Any]
INPUT_SIZE = (256, 192)
HALF = dict(cuda='float16', cpu='bfloat16')
# Of a difference: its root mean square over the deviation of the outputs.
TOLERANCES = dict(float32=1e-3, float16=.2, bfloat16=.8)
# The networks whose memory format and compilation are looked at.
OURS = ('lgm-pose', 'lgm-pose-fast', 'lapx')
LAYOUTS = ('as it is', 'channels_last', 'contiguous')
MAX_ROUNDS = 50

# Networks are built once and copied.
open_network = lru_cache(maxsize=None)(build_network)


def open_call(device: str,
              network: str,
              precision: str = 'float32',
              batch: int = 2,
              layout: str = LAYOUTS[0],
              training: bool = False,
              compiled: bool = False) -> Callable[[], List[Tensor]]:
    """Prepare a network to run again and again.

    Args:
        device (str): ``'cuda'`` or ``'cpu'``.
        network (str): See :func:`build_network`.
        precision (str): Name of the type; mixed with float32 in training.
        batch (int): Images per call.
        layout (str): One of ``LAYOUTS``. LARM gives channels_last whatever it
            gets, but not in ``'contiguous'``.
        training (bool): Whether to run backward as well.
        compiled (bool): Whether to use ``torch.compile``; its outputs are
            compared with those without.

    Returns:
        callable: Runs the network, waits for it and returns its outputs.

    Raises:
        ArithmeticError: If the outputs of ``torch.compile`` differ.
    """
    dtype = getattr(torch, precision)
    mixed = training and precision != 'float32'
    model = copy.deepcopy(open_network(network,
                                       INPUT_SIZE)).to(device).train(training)
    images = random_images(batch, INPUT_SIZE).to(device)
    if not training:
        model, images = model.requires_grad_(False).to(dtype), images.to(dtype)
    if layout == 'channels_last':
        model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    for module in model.modules():
        if layout == 'contiguous' and isinstance(module, (LARM, FastLARM)):
            module.register_forward_hook(
                lambda module, inputs, output: output.contiguous())

    def call(run: Callable) -> List[Tensor]:
        with torch.autocast(device, dtype if mixed else None, mixed):
            outputs = run(images, None, mode='tensor')
        if not isinstance(outputs, (list, tuple)):
            outputs = [outputs]
        if training:
            sum(one.float().square().mean() for one in outputs).backward()
            model.zero_grad()
        if device == 'cuda':
            torch.cuda.synchronize()
        return list(outputs)

    if not compiled:
        return partial(call, model)
    compiled_call = partial(call, torch.compile(model))
    # TF32, torch's default for convolutions, rounds as float16 does.
    compare(compiled_call(), call(model), 'float16')
    return compiled_call


def compare(outputs: Sequence[Tensor], expected: Sequence[Tensor],
            precision: str) -> float:
    """Compare a network's outputs.

    Args:
        outputs (Sequence[Tensor]): The outputs.
        expected (Sequence[Tensor]): What they should be.
        precision (str): Key of ``TOLERANCES``.

    Returns:
        float: The largest difference, see ``TOLERANCES``.

    Raises:
        ArithmeticError: If it is not within the tolerance.
    """
    differences = []
    for pair in zip(outputs, expected):
        one, other = (output.cpu().double() for output in pair)
        rms = (one - other).square().mean().sqrt()
        differences.append(float(rms / other.std()))
    tolerance = TOLERANCES[precision]
    if not all(difference <= tolerance for difference in differences):
        raise ArithmeticError(
            f'the outputs differ by {differences} of their deviation, allowed '
            f'in {precision} is {tolerance}')
    return max(differences)


def time_table(rows: Sequence[Row], columns: Dict[str, Row], device: str,
               seconds: float, by_row: bool) -> List[Row]:
    """Time networks in turn.

    Args:
        rows (Sequence[dict]): Arguments of :func:`open_call`.
        columns (dict[str, dict]): Further ones by name.
        device (str): The device.
        seconds (float): How long to go on, for at least 3 rounds and at most
            ``MAX_ROUNDS``.
        by_row (bool): Whether ratios refer to the first column of the same
            row, else to the first row of the same column.

    Returns:
        list[dict]: The rows with the median (ms) and the ratio of each
        column, or ``error``.
    """
    results = [dict(row) for row in rows]
    calls: Dict[Any, Callable[[], float]] = {}
    spent = 0.
    for index, name in product(range(len(rows)), columns):
        # Networks and compilers raise whatever they come across.
        try:
            call = open_call(device, **rows[index], **columns[name])
            call()
            spent += time_call(call)
            calls[index, name] = partial(time_call, call)
        except Exception as error:
            results[index]['error'] = f'{name}: {describe_error(error)}'
    rounds = max(3, min(MAX_ROUNDS, int(seconds / spent))) if calls else 0
    medians = {
        key: percentiles(times)[1]
        for key, times in time_interleaved(calls, rounds).items()
    }
    first_column = next(iter(columns))
    for (index, name), ms in medians.items():
        results[index][f'{name} (ms)'] = ms
        first = medians.get((index, first_column) if by_row else (0, name))
        results[index][f'{name} ratio'] = first and ms / first
    return results


def agreement(device: str, names: Sequence[str], *_: Any) -> Iterator[Row]:
    """Outputs of the device beside the CPU's in float64."""
    torch.backends.cudnn.allow_tf32 = False
    for name in names:
        row: Row = dict(network=name)
        try:
            expected = open_call('cpu', name, 'float64')()
            for precision in ('float32', HALF[device]):
                outputs = open_call(device, name, precision)()
                row[precision] = compare(outputs, expected, precision)
        except Exception as error:
            row['error'] = describe_error(error)
        yield row


def speed(device: str, names: Sequence[str], batch: int,
          seconds: float) -> Iterator[Row]:
    """Latency and throughput; ratios of time to the first network's."""
    columns = {
        f'{precision} x{size}': dict(precision=precision, batch=size)
        for precision in ('float32', HALF[device])
        for size in (1, batch)
    }
    rows = [dict(network=name) for name in names]
    for row in time_table(rows, columns, device, seconds, by_row=False):
        for name, column in columns.items():
            ms = row.get(f'{name} (ms)')
            if ms and column['batch'] > 1:
                row[f'{name} (images/s)'] = 1e3 * column['batch'] / ms
        yield row


def layouts(device: str, names: Sequence[str], batch: int,
            seconds: float) -> Iterator[Row]:
    """Inference and training in each memory format."""
    rows = [
        dict(
            network=name, precision=precision, batch=batch, training=training)
        for name in OURS if name in names
        for precision in ('float32', HALF[device])
        for training in (False, True)
    ]
    columns = {layout: dict(layout=layout) for layout in LAYOUTS}
    yield from time_table(rows, columns, device, seconds, by_row=True)


def compilation(device: str, names: Sequence[str], batch: int,
                seconds: float) -> Iterator[Row]:
    """`torch.compile` beside eager; row by row, since it takes long."""
    columns = dict(eager=dict(compiled=False), compiled=dict(compiled=True))
    for name in OURS:
        for size in (1, batch) if name == OURS[0] else (1, ):
            if name in names:
                rows = [dict(network=name, batch=size)]
                yield from time_table(rows, columns, device, seconds / 4, True)


STEPS = dict(
    agreement=agreement, speed=speed, layouts=layouts, compilation=compilation)


def measure(step: str, path: str, device: str, names: Sequence[str],
            batch: int, seconds: float) -> None:
    """Run a step.

    Args:
        step (str): Key of ``STEPS``.
        path (str): A JSON file, which gets each row as soon as it is there.
        device (str): ``'cuda'`` or ``'cpu'``.
        names (Sequence[str]): The networks; if empty, all of ``NETWORKS``.
        batch (int): Images per call where throughput is measured.
        seconds (float): How long to time.
    """
    set_up_mmpose()
    rows: List[Row] = []
    for row in STEPS[step](device, names or list(NETWORKS), batch, seconds):
        rows.append(row)
        write_json(path, rows)
