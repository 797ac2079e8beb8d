"""Check an environment against the traps that MMPose's users fall into.

Nothing of torch or OpenMMLab is imported here: what may crash runs in
another process, so that the rest is still reported.
"""
import re
from typing import Iterator, List, NamedTuple, Sequence, Tuple

from .facts import Facts

ALL = ('infer', 'test', 'train')
MMCV_REMEDY = (
    'pip uninstall mmcv mmcv-lite; pip install mmcv-lite==2.1.0, whose '
    'operators torchvision computes; or build it with pip install '
    '"setuptools<81" ninja psutil && MMCV_WITH_OPS=1 pip install '
    '--no-build-isolation --no-binary mmcv mmcv==2.1.0')
MMPOSE_REMEDY = ('pip install --no-deps mmpose==1.3.2 && pip install '
                 'json_tricks matplotlib munkres scipy')
OPENCV_REMEDY = ('pip uninstall opencv-python opencv-python-headless, then '
                 'pip install opencv-python-headless (needs no libGL)')


class Package(NamedTuple):
    """What is needed of a package, and how to get it."""

    remedy: str
    lowest: str  # the first version that works
    too_high: str = ''  # the first that does not work any more
    # Others that provide the same import name. The onedl-* are maintained
    # forks with versions of their own.
    others: Tuple[str, ...] = ()


PACKAGES = {
    'torch':
    Package('pip install torch torchvision', '1.13'),
    'torchvision':
    Package(
        'pip install the torchvision that belongs to your torch, e.g. 0.24.1 '
        'to 2.9.1', '0.14'),
    'numpy':
    Package('pip install numpy', '1.22'),
    'mmengine':
    Package('pip install mmengine==0.10.7', '0.10.4', '1',
            ('onedl-mmengine', 'mmengine-lite')),
    # mmdet 3.3.0 asserts mmcv < 2.2.
    'mmcv':
    Package(MMCV_REMEDY, '2.0.1', '2.2',
            ('onedl-mmcv', 'mmcv-full', 'mmcv-lite')),
    'mmdet':
    Package('pip install mmdet==3.3.0', '3.0', '4', ('onedl-mmdetection', )),
    'mmpose':
    Package(MMPOSE_REMEDY, '1.1', '2'),
    'pycocotools':
    Package('pip install pycocotools', '2.0'),
    'opencv-python-headless':
    Package(OPENCV_REMEDY, '4', '',
            ('opencv-python', 'opencv-contrib-python-headless',
             'opencv-contrib-python')),
}


class Result(NamedTuple):
    """What a check found."""

    name: str
    status: str  # ok, warn, FAIL or info
    found: str
    remedy: str = ''
    blocks: Sequence[str] = ()  # of infer, test, train


class ProbeCheck(NamedTuple):
    """What it means if a probe fails."""

    name: str
    remedy: str
    blocks: Sequence[str] = ALL  # if empty, the environment works without


_MEND_FIRST = 'mend the FAIL lines above first, then '
# By probe, in the order of the report.
PROBE_CHECKS = {
    'torch':
    ProbeCheck(
        'torch runs',
        'install torch and torchvision of the same release; a torch before '
        '2.3 also needs pip install "numpy<2"'),
    'opencv':
    ProbeCheck('opencv runs', OPENCV_REMEDY),
    'xtcocotools':
    ProbeCheck('xtcocotools runs',
               'pip install pycocotools, which stands in for it'),
    'mmcv_ops':
    ProbeCheck('mmcv ops', MMCV_REMEDY),
    # Pose networks run without mmcv's CUDA operators.
    'mmcv_cuda':
    ProbeCheck('mmcv ops on CUDA', MMCV_REMEDY, ()),
    'mmdet':
    ProbeCheck(
        'mmdet imports',
        'pip install mmdet==3.3.0 with mmcv==2.1.0: mmdet asserts mmcv<2.2'),
    'mmpose':
    ProbeCheck('mmpose imports', _MEND_FIRST + MMPOSE_REMEDY),
    'plugin':
    ProbeCheck('plugin', _MEND_FIRST + 'install lgm_pose_plugin again'),
    'checkpoint':
    ProbeCheck(
        'checkpoints', 'pip install torch==2.9.1 "numpy<2.4"; do not set '
        'weights_only=False, which runs what a checkpoint says',
        ('infer', 'test')),
}


def _release(version: str) -> Tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r'\d+', version.split('+')[0])[:3])


def _installed(facts: Facts, name: str) -> List[str]:
    return [
        f'{provider} {facts.versions[provider]}'
        for provider in (name, *PACKAGES[name].others)
        if provider in facts.versions
    ]


def check_versions(facts: Facts) -> Iterator[Result]:
    """Whether Python and packages are there, in versions that work."""
    python = '.'.join(map(str, facts.python))
    if (3, 8) <= tuple(facts.python[:2]) <= (3, 13):
        yield Result('python', 'ok', python)
    else:
        yield Result('python', 'warn', f'{python}, tested are 3.8 to 3.13',
                     'make an environment with Python 3.10 to 3.13')
    for name, package in PACKAGES.items():
        installed = _installed(facts, name)
        found = ' and '.join(installed)
        version = _release(facts.versions.get(name, package.lowest))
        wanted = f'>={package.lowest}'
        if package.too_high:
            wanted += f',<{package.too_high}'
        if not installed:
            yield Result(name, 'FAIL', 'not installed', package.remedy, ALL)
        elif (version < _release(package.lowest)
              or package.too_high and version >= _release(package.too_high)):
            yield Result(name, 'FAIL', f'{found}, needed is {wanted}',
                         package.remedy, ALL)
        elif len(installed) > 1:
            yield Result(
                name, 'warn',
                f'{found} write the same files; removing or updating one '
                'breaks the other',
                'pip uninstall them, then install one of them alone')
        else:
            yield Result(name, 'ok', found)


def check_probes(facts: Facts) -> Iterator[Result]:
    """Whether the packages run, and fit each other."""
    for probe, (name, remedy, blocks) in PROBE_CHECKS.items():
        ok, text = facts.probes[probe]
        if ok:
            if text:
                yield Result(name, 'ok', text)
            continue
        missing = re.search(r"No module named '(\w+)'", text)
        if (missing and missing.group(1) in PACKAGES
                and not _installed(facts, missing.group(1))):
            continue  # as its own line says
        yield Result(name, 'FAIL' if blocks else 'warn',
                     ' '.join(text.split())[:400], remedy, blocks)


def check_compat(facts: Facts) -> Iterator[Result]:
    """What stands in for packages that are missing or broken."""
    ok, text = facts.probes['compat']
    for line in text.splitlines() if ok else ():
        part, state, found = line.split(': ', 2)
        yield Result(f'compat {part}', 'info' if found else 'ok',
                     f'{state}, {found}' if found else state)


def check_unsafe_loading(facts: Facts) -> Iterator[Result]:
    """Whether the environment turns safe loading off."""
    value = facts.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '')
    if value.lower() in ('1', 'y', 'yes', 'true'):
        yield Result(
            'unsafe loading', 'warn',
            f'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD={value}: a checkpoint from '
            'elsewhere can run code; the plugin needs no such setting',
            'unset TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD')


def check_threads(facts: Facts) -> Iterator[Result]:
    """Whether threads outnumber the CPUs."""
    value = facts.environ.get('OMP_NUM_THREADS', '')
    most = max(1, int(facts.cpus))
    found = (f'OMP_NUM_THREADS={value or "(unset)"}, {facts.cpus:g} CPUs '
             'usable')
    if value.split(',')[0] in map(str, range(1, most + 1)):
        yield Result('threads', 'ok', found)
    else:
        yield Result(
            'threads', 'warn' if value else 'info',
            f'{found}; threads wait for each other at every layer: beside '
            'other processes two can be 20 times slower than one',
            'export OMP_NUM_THREADS=1 beside other load (data loader '
            f'workers, several runs), else at most {most}')


def check_mim(facts: Facts) -> Iterator[Result]:
    """Whether mim is there and finds the configs."""
    if 'openmim' not in facts.versions:
        yield Result(
            'mim', 'warn', 'openmim is not installed: no `mim train`',
            'pip install --no-deps openmim && pip install click colorama '
            'model-index pandas rich tabulate')
    elif _release(facts.versions.get('setuptools', '99')) >= (81, ):
        yield Result(
            'mim', 'warn',
            f'setuptools {facts.versions.get("setuptools", "is missing")}: '
            '81 announces the end of pkg_resources, which mim imports, newer '
            'ones lack it', 'pip install "setuptools<81"')
    elif facts.mim_configs:
        yield Result('mim', 'ok', f'finds {facts.mim_configs}')
    else:
        yield Result(
            'mim', 'warn',
            '`mim train lgm_pose_plugin NAME` finds no configs: mim looks '
            'into site-packages, where an editable install puts none',
            'pip install . (without -e); or from the clone '
            'PYTHONPATH=. mim train mmpose configs/PATH.py')


CHECKS = (check_versions, check_probes, check_compat, check_unsafe_loading,
          check_threads, check_mim)


def diagnose(facts: Facts) -> List[Result]:
    """Judge an environment.

    Args:
        facts (Facts): What was seen of it.

    Returns:
        list[Result]: What each check found, in a fixed order. The
        environment can infer, test or train if no result ``blocks`` it.
    """
    return [result for check in CHECKS for result in check(facts)]
