"""The ``lgm-pose`` command line, one module per sub-command."""
import argparse
import io
import sys
import warnings
from importlib import import_module
from typing import Optional, Sequence

from lgm_pose_plugin.version import __version__
from .options import HelpFormatter

COMMANDS = ('benchmark', 'complexity', 'convert-lsp', 'demo', 'detect',
            'doctor', 'erf', 'export', 'predict', 'publish', 'render', 'web')


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
        description = module.__doc__ or ''
        subparser = subparsers.add_parser(
            name,
            help=description.split('\n\n')[0],
            description=description,
            formatter_class=HelpFormatter)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    # MMEngine warns of it at every start, and it is ours to pin (see doctor).
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated')
    # Paths may have letters that an old encoding of stdout has not.
    if isinstance(sys.stdout, io.TextIOWrapper):  # not so in notebooks
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print(f'lgm-pose {args.command}: interrupted', file=sys.stderr)
        return 130
    except (ImportError, MemoryError, OSError, ValueError) as error:
        missing = isinstance(error, ModuleNotFoundError)
        remedy = '; install it with pip' if missing else ''
        print(f'lgm-pose {args.command}: {error}{remedy}', file=sys.stderr)
        return 1
