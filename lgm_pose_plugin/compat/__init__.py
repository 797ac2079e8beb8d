"""Stand-ins for what MMPose needs and this environment lacks.

Each part does nothing where the package itself works. What stands in is
imported only when MMPose imports what it stands in for.
"""
import io
import json
import logging
import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Callable, Dict, List, NamedTuple, Optional, Set

__all__ = [
    'OFF', 'PARTS', 'Status', 'install', 'mended_when_imported', 'status'
]

# Environment variable with the names of parts that are not to be used.
OFF = 'LGM_POSE_COMPAT_OFF'
# Parts, and what each does where it is needed.
PARTS = {
    'mmcv': "torchvision computes mmcv's operators, which are not compiled",
    'xtcocotools': 'pycocotools stands in for xtcocotools',
    'pkg_resources': 'importlib.metadata stands in for pkg_resources',
    'drawing': 'MMPose draws circles with NumPy 2.4 and newer',
    'compile': 'MMEngine compiles networks with torch 2.10 and newer',
}
# Modules that are made from files of this package where they are missing.
_FILES = {
    'mmcv._ext': 'mmcv_ops.py',
    'xtcocotools': 'xtcocotools/__init__.py',
    'pkg_resources': 'pkg_resources.py',
}
_FOLDER = Path(__file__).parent


class Status(NamedTuple):
    """How a part stands in this environment."""

    part: str
    state: str  # active, not needed or off
    text: str


def _switched_off() -> Set[str]:
    names = {name for name in os.environ.get(OFF, '').split(',') if name}
    unknown = names - set(PARTS) - {'all'}
    if unknown:
        raise ValueError(
            f'{OFF} names {", ".join(sorted(unknown))}; it takes "all" or a '
            f'list of {", ".join(PARTS)}, separated by commas')
    return set(PARTS) if 'all' in names else names


_announced: Set[str] = set()


def _announce(part: str) -> None:
    """Log once that a part is active.

    Not by MMEngine's logger, which prints to stdout.
    """
    if part not in _announced:
        _announced.add(part)
        logging.getLogger(__name__).info('%s (%s=%s switches this off)',
                                         PARTS[part], OFF, part)


# Modules that are missing


class _StandInFinder(MetaPathFinder):
    """Finds what no other finder has found."""

    def find_spec(self,
                  fullname: str,
                  path: Any = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        """Find one of the modules, see the base class."""
        part = fullname.split('.')[0]
        if fullname not in _FILES or part in _switched_off():
            return None
        _announce(part)
        return spec_from_file_location(fullname, _FOLDER / _FILES[fullname])


def install() -> None:
    """Stand in for modules that are missing, now and later.

    Also mend those that are imported already.
    """
    sys.meta_path.append(_StandInFinder())
    for module, mend in mended_when_imported().items():
        if module in sys.modules:
            mend()


# Modules that are there and do not work


def _replace_broken_xtcocotools() -> None:
    """Stand in for an xtcocotools that was compiled for another NumPy."""
    try:
        import_module('xtcocotools._mask')
    except Exception:
        sys.modules['xtcocotools'].__path__ = [str(_FOLDER / 'xtcocotools')]
        _announce('xtcocotools')


def _mend_encoding() -> None:
    """Let xtcocotools read JSON as the tools of Windows write it."""
    # In place of Python's function, in its module alone.
    vars(sys.modules['xtcocotools.coco'])['open'] = _open_json


def _open_json(path: str, mode: str = 'r') -> IO[str]:
    """Open a file of JSON in the encoding that it has."""
    if mode != 'r':
        return open(path, mode)
    data = Path(path).read_bytes()
    return io.StringIO(data.decode(json.detect_encoding(data)))


def _mend_drawing() -> None:
    """Let MMPose draw circles whose radius is an array of one number."""
    if _numpy_refuses_arrays():
        from lgm_pose_plugin.compat.drawing import accept_array_as_radius
        accept_array_as_radius()
        _announce('drawing')


def _mend_compilation() -> None:
    """Let MMEngine's ``compile`` option work."""
    if _torch_traces_arrays():
        from lgm_pose_plugin.compat.dynamo import leave_out_metainfo
        leave_out_metainfo()
        _announce('compile')


def mended_when_imported() -> Dict[str, Callable[[], None]]:
    """List the modules to mend once they have been imported.

    Returns:
        dict[str, callable]: What mends each, by the modules' names.

    Raises:
        ValueError: If the environment variable names an unknown part.
    """
    functions = {
        'xtcocotools': ('xtcocotools', _replace_broken_xtcocotools),
        'xtcocotools.coco': ('xtcocotools', _mend_encoding),
        'mmpose.visualization': ('drawing', _mend_drawing),
        'mmengine.runner': ('compile', _mend_compilation),
    }
    off = _switched_off()
    return {
        module: function
        for module, (part, function) in functions.items() if part not in off
    }


# What is needed here


def _numpy_refuses_arrays() -> bool:
    """Tell whether an array of one number is no number."""
    try:
        import numpy as np
    except ImportError:
        return False
    return np.lib.NumpyVersion(np.__version__) >= '2.4.0'


def _torch_traces_arrays() -> bool:
    """Tell whether torch fails at what MMEngine's samples hold."""
    with suppress(PackageNotFoundError):
        release = version('torch').split('.')[:2]
        return tuple(map(int, release)) >= (2, 10)
    return False


def _stands_in(module: str) -> bool:
    """Import a module and tell whether it comes from this package."""
    try:
        file = import_module(module).__file__
    except Exception:  # nothing stands in for what is not installed
        return False
    return file is not None and _FOLDER in Path(file).parents


def status() -> List[Status]:
    """Tell which parts are active in this environment.

    This imports mmcv, if it is installed.

    Returns:
        list[Status]: One for each part.
    """
    off = _switched_off()
    active = {
        'mmcv': lambda: _stands_in('mmcv._ext'),
        'xtcocotools': lambda: _stands_in('xtcocotools.mask'),
        'pkg_resources': lambda: _stands_in('pkg_resources'),
        'drawing': _numpy_refuses_arrays,
        'compile': _torch_traces_arrays,
    }
    return [
        Status(part, 'off', f'{OFF} names it')
        if part in off else Status(part, 'active', text)
        if active[part]() else Status(part, 'not needed', '')
        for part, text in PARTS.items()
    ]
