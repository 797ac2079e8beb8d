"""What all benchmarks share: rounds, percentiles, and their environment."""
import os
import random
import time
from typing import Any, Callable, Dict, Hashable, List, Sequence, Tuple

import numpy as np

from lgm_pose_plugin.utils.machine import available_cpus, describe_machine
from lgm_pose_plugin.utils.progress import with_bar


def time_call(function: Callable[[], Any]) -> float:
    """Call a function and time it.

    Args:
        function (callable): Called without arguments.

    Returns:
        float: The seconds it took.
    """
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def warmup_rounds(rounds: int) -> int:
    """Number of rounds that are run first and not counted.

    Args:
        rounds (int): Number of rounds that are counted.

    Returns:
        int: A tenth of them, at least 2.
    """
    return max(2, rounds // 10)


def time_interleaved(calls: Dict[Hashable, Callable[[], float]],
                     rounds: int) -> Dict[Hashable, List[float]]:
    """Time calls in turn, so that drift of the machine meets all alike.

    Args:
        calls (dict[Any, callable]): By name; each returns the seconds it
            took.
        rounds (int): Number of rounds, after :func:`warmup_rounds`; each
            calls everything once, in an order of its own.

    Returns:
        dict[Any, list[float]]: Seconds of each counted call by name.
    """
    order, shuffler = list(calls), random.Random(0)
    seconds: Dict[Hashable, List[float]] = {name: [] for name in calls}
    warmup = warmup_rounds(rounds)
    for _ in with_bar(range(warmup + rounds), unit='round'):
        shuffler.shuffle(order)
        for name in order:
            seconds[name].append(calls[name]())
    return {name: values[warmup:] for name, values in seconds.items()}


def percentiles(seconds: Sequence[float]) -> Tuple[float, float, float]:
    """Summarize times.

    Args:
        seconds (Sequence[float]): The times.

    Returns:
        tuple[float, float, float]: The 10th percentile, the median and the
        90th percentile, in milliseconds.
    """
    p10, median, p90 = 1e3 * np.percentile(seconds, (10, 50, 90))
    return float(p10), float(median), float(p90)


def describe_environment(load: float, threads: int,
                         rounds: int) -> Dict[str, Any]:
    """Say what times depend on.

    Args:
        load (float): :func:`load_average` when the work began.
        threads (int): The most threads that are used.
        rounds (int): Number of counted rounds.

    Returns:
        dict: Date, machine and versions, whether the machine was busy, and
        the rounds.
    """
    cores = available_cpus()
    return {
        **describe_machine(('torch', 'mmpose', 'mmcv', 'mmengine')),
        'cores': cores,
        'load average': [load, load_average()],
        # This process itself was at work before: half a core is not "busy".
        'busy': load > cores - threads + .5,
        'flip test': 'no',
        'rounds': rounds,
        'warm-up rounds': warmup_rounds(rounds)
    }


def load_average() -> float:
    """Count processes at work.

    Returns:
        float: Their number in the last minute; 0 where it is not known.
    """
    return round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else 0.
