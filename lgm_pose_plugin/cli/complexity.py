"""count parameters and multiply-adds of configs

In eval mode, without flip test; configs that build the same network share a
row. The counters: all parameters, those of standard layers alone (leaf);
multiply-adds as MMEngine counts them, those of convolutions, linear layers and
matrix products alone (conv), and as the package thop counts them. A paper's
figure has the counter it agrees with beside it; a row that differs from it in
the last printed digit (rounded or truncated) is marked.
"""
import argparse
import json
from typing import Optional

from lgm_pose_plugin.setup_env import set_up_mmpose
from .options import CONFIG, add_format


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose complexity``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument(
        'configs',
        nargs='*',
        metavar='CONFIG',
        help=f"{CONFIG} (default: all of the plugin's)")
    add_format(parser, 'markdown', 'json')


def run(args: argparse.Namespace) -> int:
    """Print the table.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0, or 1 if a row differs from the paper.

    Raises:
        ValueError: If there is no such config or it has no top-down network.
    """
    set_up_mmpose()
    from lgm_pose_plugin.analysis.complexity import count_all, package_configs
    rows = count_all(args.configs or package_configs())
    status = int(any(row.differs for row in rows))
    if args.format == 'json':
        found = [
            dict(
                row._asdict(), paper=row.paper._asdict(), differs=row.differs)
            for row in rows
        ]
        print(json.dumps(found, indent=2))
        return status
    print('| config | input | params (M) | leaf | paper '
          '| MACs (G), MMEngine | conv | thop | paper | |')
    print('| --- | --- ' + '| ---: ' * 7 + '| --- |')
    for row in rows:
        paper = row.paper
        print('| {} | {}x{} '.format(row.name, *row.input_size) +
              f'| {row.params / 1e6:.4f} | {row.leaf_params / 1e6:.4f} '
              f'| {_published(paper.params, paper.params_counter)} '
              f'| {row.macs / 1e9:.4f} | {row.conv_macs / 1e9:.4f} '
              f'| {row.thop_macs / 1e9:.4f} '
              f'| {_published(paper.macs, paper.macs_counter)} '
              f'| {"differs" if row.differs else ""} |')
    return status


def _published(figure: Optional[str], counter: str) -> str:
    """A paper's figure and the counter it agrees with."""
    names = dict(
        params='all', leaf_params='leaf', macs='MMEngine', thop_macs='thop')
    return f'{figure} ({names[counter]})' if figure else ''
