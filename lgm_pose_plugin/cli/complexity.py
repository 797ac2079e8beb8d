"""count parameters and multiply-adds of configs

In eval mode, without flip test. The counters: all parameters, those of
standard layers alone (leaf); multiply-adds as MMEngine counts them, those of
convolutions, linear layers and matrix products alone (conv), and as the
package thop counts them.
"""
import argparse
import json

from lgm_pose_plugin.setup_env import set_up_mmpose
from .options import CONFIG, add_format


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose complexity``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help=CONFIG)
    add_format(parser, 'markdown', 'json')


def run(args: argparse.Namespace) -> int:
    """Print the table.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        ValueError: If there is no such config or it has no top-down network.
    """
    set_up_mmpose()
    from lgm_pose_plugin.analysis.complexity import count_complexity
    rows = [count_complexity(config) for config in args.configs]
    if args.format == 'json':
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    print('| config | input | params (M) | leaf | MACs (G), MMEngine | conv '
          '| thop |')
    print('| --- | --- ' + '| ---: ' * 5 + '|')
    for row in rows:
        print('| {} | {}x{} | {:.4f} | {:.4f} | {:.4f} | {:.4f} | {:.4f} |'.
              format(row.name, *row.input_size, row.params / 1e6,
                     row.leaf_params / 1e6, row.macs / 1e9,
                     row.conv_macs / 1e9, row.thop_macs / 1e9))
    return 0
