"""CPUs and versions of what a result was made with."""
import os
import platform
import re
import time
from contextlib import suppress
from importlib import import_module
from typing import Dict, Iterable

from lgm_pose_plugin.version import __version__


def available_cpus() -> float:
    """Count the CPUs that affinity and the container's quota leave us.

    Returns:
        float: The number; a quota may be a fraction.
    """
    # Not on macOS and Windows.
    affinity = getattr(os, 'sched_getaffinity', None)
    cpus = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    # No cgroup, or 'max': no quota.
    with suppress(OSError, ValueError), open('/sys/fs/cgroup/cpu.max') as file:
        quota, period = map(float, file.read().split())
        cpus = min(cpus, quota / period)
    return cpus


def cpu_model() -> str:
    """Find the CPU's name, which ``platform`` does not tell on Linux.

    Returns:
        str: The name.
    """
    with suppress(OSError), open('/proc/cpuinfo') as file:
        found = re.search(r'model name\s*: (.+)', file.read())
        if found:
            return found.group(1)
    return platform.processor() or platform.machine()


def describe_machine(packages: Iterable[str]) -> Dict[str, str]:
    """Say what a result was made with.

    Args:
        packages (Iterable[str]): Names of the packages that matter.

    Returns:
        dict[str, str]: Date, CPU and versions.

    Raises:
        ImportError: If a package is missing.
    """
    try:
        versions = {name: import_module(name).__version__ for name in packages}
    except ImportError as error:
        raise ImportError(f'{error}; pip install {error.name}') from error
    return {
        'date': time.strftime('%Y-%m-%d %H:%M'),
        'CPU': cpu_model(),
        'python': platform.python_version(),
        'lgm_pose_plugin': __version__,
        **versions
    }
