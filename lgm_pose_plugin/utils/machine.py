"""Name and number of the CPUs."""
import os
import platform
import re


def available_cpus() -> float:
    """Count the CPUs that affinity and the container's quota leave us.

    Returns:
        float: The number; a quota may be a fraction.
    """
    try:
        cpus = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS and Windows
        cpus = float(os.cpu_count() or 1)
    for quota_file, period_file in (('/sys/fs/cgroup/cpu.max', None),
                                    ('/sys/fs/cgroup/cpu/cpu.cfs_quota_us',
                                     '/sys/fs/cgroup/cpu/cpu.cfs_period_us')):
        try:
            with open(quota_file) as file:
                quota = file.read().split()
            if period_file:
                with open(period_file) as file:
                    quota += file.read().split()
            if float(quota[0]) > 0:
                cpus = min(cpus, float(quota[0]) / float(quota[1]))
        except (OSError, ValueError):  # no cgroup, or 'max': no quota
            pass
    return cpus


def cpu_model() -> str:
    """Find the CPU's name, which ``platform`` does not tell on Linux.

    Returns:
        str: The name.
    """
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            found = re.search(r'model name\s*: (.+)', file.read())
        if found:
            return found.group(1)
    return platform.processor() or platform.machine()
