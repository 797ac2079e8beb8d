"""Facts about an environment, which the checks judge."""
import os
import re
import sys
from importlib import metadata
from typing import Dict, NamedTuple, Sequence

from lgm_pose_plugin.utils.machine import available_cpus
from .probes import PROBES, Probe, run_probes


class Facts(NamedTuple):
    """What the checks judge."""

    python: Sequence[int]
    versions: Dict[str, str]  # of the installed distributions
    environ: Dict[str, str]
    cpus: float  # those this process may use
    mim_configs: str  # where mim finds the configs, or ''
    probes: Dict[str, Probe]


def find_mim_configs() -> str:
    """Look where mim looks for the plugin's configs.

    Returns:
        str: The folder; empty if it is not there, as of an editable install.
    """
    try:
        configs = str(
            metadata.distribution('lgm_pose_plugin').locate_file(
                os.path.join('lgm_pose_plugin', '.mim', 'configs')))
    except metadata.PackageNotFoundError:
        return ''
    return configs if os.path.isdir(configs) else ''


def collect_facts() -> Facts:
    """Look at this environment; takes as long as importing MMPose.

    Returns:
        Facts: What the checks judge.
    """
    versions: Dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata['Name']
        # The first on sys.path is the one that is imported. A damaged
        # installation may leave a folder without a name.
        if name:
            name = re.sub(r'[-_.]+', '-', name).lower()
            versions.setdefault(name, distribution.version)
    return Facts(
        python=sys.version_info[:3],
        versions=versions,
        environ=dict(os.environ),
        cpus=available_cpus(),
        mim_configs=find_mim_configs(),
        probes=run_probes(PROBES))
