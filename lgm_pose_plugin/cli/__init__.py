"""The ``lgm-pose`` command line, one module per sub-command."""
import argparse
import io
import logging
import sys
import warnings
from importlib import import_module
from typing import Any, Dict, Optional, Sequence

from ..version import __version__

COMMANDS = ('benchmark', 'complexity', 'convert-lsp', 'demo', 'detect',
            'doctor', 'erf', 'export', 'predict', 'publish', 'render')


def set_up_mmpose() -> None:
    """Register MMPose's and the plugin's modules, and log errors only."""
    # Of mmdet's modules in RTMPose, for torch.cuda.amp.
    warnings.filterwarnings('ignore', category=FutureWarning)
    # Of YOLOX and other detectors.
    warnings.filterwarnings('ignore', 'torch.meshgrid')
    # MMPose tells that it finds COCO's key points among its own configs.
    warnings.filterwarnings('ignore', 'The metainfo config file')
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    from .. import register_all_modules
    register_all_modules()
    init_default_scope('mmpose')
    MMLogger.get_current_instance().setLevel(logging.ERROR)


def add_cfg_options(parser: argparse.ArgumentParser, help: str) -> None:
    """Add ``--cfg-options`` as MMPose's tools have it.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
        help (str): What to say of it.
    """
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help=help)


def parse_cfg_options(options: Sequence[str]) -> Dict[str, Any]:
    """Read the values of ``--cfg-options``.

    Args:
        options (Sequence[str]): As ``['a.b=1']``.

    Returns:
        dict: As ``{'a.b': 1}``, for ``Config.merge_from_dict``.

    Raises:
        ValueError: If an option is not KEY=VALUE.
    """
    from mmengine.config import DictAction
    for option in options:
        if '=' not in option:
            raise ValueError(f'--cfg-options takes KEY=VALUE, got {option}')
    namespace = argparse.Namespace()
    DictAction([], 'cfg')(None, namespace, options)
    return namespace.cfg


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run ``lgm-pose``.

    Each module of this package defines ``add_arguments(parser)`` and
    ``run(args) -> int`` and imports what is heavy inside ``run``.

    Args:
        argv (Sequence[str], optional): The arguments. Defaults to
            ``sys.argv[1:]``.

    Returns:
        int: The exit status: 0 for success, 1 for a failure that was
        reported on stderr, 2 for wrong arguments, 130 for Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog='lgm-pose', description='Tools of lgm_pose_plugin.')
    parser.add_argument('--version', action='version', version=__version__)
    subparsers = parser.add_subparsers(dest='command', required=True)
    for name in COMMANDS:
        module = import_module(f'{__name__}.{name.replace("-", "_")}')
        summary = module.__doc__.split('\n\n')[0]
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    # MMEngine warns of it at every start, and it is ours to pin (see doctor).
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated')
    # Paths may have letters that an old encoding of stdout has not.
    if isinstance(sys.stdout, io.TextIOWrapper):  # not so in notebooks
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print(f'lgm-pose {args.command}: interrupted', file=sys.stderr)
        return 130
    except (ImportError, MemoryError, OSError, ValueError) as error:
        print(f'lgm-pose {args.command}: {error}', file=sys.stderr)
        return 1
