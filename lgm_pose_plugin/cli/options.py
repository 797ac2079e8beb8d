"""Arguments that several sub-commands share."""
import argparse
from typing import Any, Dict, Sequence


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
