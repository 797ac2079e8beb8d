"""Name and number of the CPUs."""
import os
import platform
import re
from contextlib import suppress


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
