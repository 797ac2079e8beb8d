"""What `lgm-pose benchmark` times, each in a process of its own.

In one process the threads of one runtime would disturb another, a crash would
end the whole run, and the peak memory of each could not be told. Nothing is
imported here before it is known what to run: an exported file is run without
torch.
"""
import multiprocessing
import os
import sys
import time
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from lgm_pose_plugin.runtime import open_session
from lgm_pose_plugin.utils.errors import describe_error
from .timing import time_call

# Threads of OpenMP and TBB spin for some milliseconds when they are done, and
# would take a core from what is timed next.
SETTLE_SECONDS = .02
MATMUL_SIZE = 1024

# A function that runs a network once, and name and version of the runtime.
Opened = Tuple[Callable[[], Any], str]


def open_torch(network: str, mode: str, batch: int,
               input_size: Tuple[int, int], threads: int) -> Opened:
    """Build a network with random weights in PyTorch.

    Args:
        network (str): See :func:`~lgm_pose_plugin.models.builder.load_config`.
        mode (str): ``'eager'``, ``'channels_last'`` or ``'compile'``.
        batch (int): Images per call.
        input_size (tuple[int, int]): Their height and width.
        threads (int): Threads PyTorch may use.

    Returns:
        tuple[callable, str]: Runs the network once, and PyTorch's version.
    """
    import torch

    from lgm_pose_plugin.setup_env import set_up_mmpose
    set_up_mmpose()
    from .networks import build_network
    torch.set_num_threads(threads)
    model: Any = build_network(network, input_size).requires_grad_(False)
    images = torch.randn(batch, 3, *input_size)
    if mode == 'channels_last':
        model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    elif mode == 'compile':
        model = torch.compile(model)
    run = partial(model, images, None, mode='tensor')
    return run, f'torch {torch.__version__}'


def open_exported(file: str, runtime: str, batch: int,
                  input_size: Tuple[int, int], threads: int) -> Opened:
    """Open an exported network that takes normalized images.

    Args:
        file (str): An .onnx or .xml file.
        runtime (str): ``'onnxruntime'`` or ``'openvino'``.
        batch (int): Images per call.
        input_size (tuple[int, int]): Their height and width.
        threads (int): Threads the runtime may use.

    Returns:
        tuple[callable, str]: Runs the network once, and the runtime's
        version.
    """
    session = open_session(file, runtime, threads)
    images = np.random.default_rng(0).standard_normal((batch, 3, *input_size),
                                                      np.float32)
    version = sys.modules[runtime].__version__.partition('-')[0]
    return lambda: session.run(images), f'{runtime} {version}'


def open_matmul(threads: int) -> Opened:
    """Prepare a matrix product of ``MATMUL_SIZE`` in PyTorch, in float32.

    Args:
        threads (int): Threads PyTorch may use.

    Returns:
        tuple[callable, str]: Computes it once, and PyTorch's version.
    """
    import torch
    torch.set_num_threads(threads)
    a, b, out = torch.randn(3, MATMUL_SIZE, MATMUL_SIZE)
    return lambda: torch.mm(a, b, out=out), f'torch {torch.__version__}'


OPENERS: Dict[str, Callable[..., Opened]] = dict(
    torch=open_torch, exported=open_exported, matmul=open_matmul)


def peak_memory() -> Optional[int]:
    """The most memory this process ever had.

    Returns:
        int, optional: Bytes resident in memory, with those of shared
        libraries; ``None`` where the system does not tell.
    """
    if sys.platform == 'linux':
        # ru_maxrss starts with that of the process that started this one.
        with open('/proc/self/status') as file:
            return 1024 * int(file.read().split('VmHWM:')[1].split()[0])
    if sys.platform == 'darwin':
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def serve(task: Dict[str, Any], connection: Connection) -> None:
    """Set a task up; at every request run it twice and time the second run.

    Args:
        task (dict): ``opener``, a key of ``OPENERS``, and its arguments.
        connection (Connection): Brings requests, of any kind. Gets dicts:
            first ``runtime`` when the task is ready, having run once, or
            ``error`` if it failed, which ends it; then ``seconds`` and
            ``peak_bytes`` of every timed run.
    """
    arguments = dict(task)
    opener = OPENERS[arguments.pop('opener')]
    settle = SETTLE_SECONDS if task['threads'] > 1 else 0
    try:
        run, runtime = opener(**arguments)
        run()
        connection.send(dict(runtime=runtime))
        while True:
            connection.recv()
            run()  # brings back what other processes drove out of the caches
            seconds = time_call(run)
            time.sleep(settle)
            connection.send(dict(seconds=seconds, peak_bytes=peak_memory()))
    except EOFError:  # the other end is closed
        pass
    # Compilers and runtimes raise whatever they come across.
    except Exception as error:
        connection.send(dict(error=describe_error(error)))


def serve_silently(task: Dict[str, Any], connection: Connection) -> None:
    """Serve without what libraries print, see :func:`serve`.

    Args:
        task (dict): See :func:`serve`.
        connection (Connection): See :func:`serve`.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    serve(task, connection)


class Worker:
    """A process that runs one task whenever it is asked to.

    Starting waits until the task has run once, or has failed.

    Args:
        task (dict): See :func:`serve`.

    Attributes:
        error (str, optional): Why the task can no longer run.
        runtime (str): Name and version of what runs it.
        peak_bytes (int, optional): The process's peak memory at the last run.
    """

    def __init__(self, task: Dict[str, Any]):
        self.error: Optional[str] = None
        self.peak_bytes: Optional[int] = None
        # Not a fork: it would have all modules and threads of this process.
        context = multiprocessing.get_context('spawn')
        self._connection, other_end = context.Pipe()
        self._process = context.Process(
            target=serve_silently, args=(task, other_end))
        self._process.start()
        other_end.close()
        self.runtime = self._receive().get('runtime', '')

    def run(self) -> float:
        """Run the task twice.

        Returns:
            float: The seconds the second run took, by the process's own clock;
            NaN if it failed, now or before.
        """
        if self.error:
            return float('nan')
        with suppress(OSError):  # the process has ended, as receiving tells
            self._connection.send('run')
        answer = self._receive()
        self.peak_bytes = answer.get('peak_bytes', self.peak_bytes)
        return answer.get('seconds', float('nan'))

    def _receive(self) -> Dict[str, Any]:
        """The next answer; keeps the error, if it is one."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            answer = dict(error='its process ended with exit status '
                          f'{self._process.exitcode}')
        self.error = answer.get('error')
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()
