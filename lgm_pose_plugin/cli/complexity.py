"""count parameters and multiply-adds of configs

The counter is MMEngine's get_model_complexity_info in eval mode; configs that
build the same network share a row. A row that differs from the paper's figure
in its last printed digit (rounded or truncated) is marked.
"""
import argparse
import json

from . import set_up_mmpose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``lgm-pose complexity``."""
    parser.add_argument(
        'configs',
        nargs='*',
        help="paths of top-down configs (default: all of the plugin's)")
    parser.add_argument(
        '--format', choices=('markdown', 'json'), default='markdown')


def run(args: argparse.Namespace) -> int:
    """Print the table.

    Returns:
        int: 0, or 1 if a row differs from the paper.
    """
    set_up_mmpose()
    from ..complexity import count_all, package_configs
    rows = count_all(args.configs or package_configs())
    if args.format == 'json':
        print(
            json.dumps(
                [dict(row._asdict(), differs=row.differs) for row in rows],
                indent=2))
    else:
        print('| config | input | params (M) | paper | MACs (G) | paper | |')
        print('| --- | --- | ---: | ---: | ---: | ---: | --- |')
        for row in rows:
            print(f'| {row.name} | {row.input_size[0]}x{row.input_size[1]} '
                  f'| {row.params / 1e6:.4f} | {row.paper_params or ""} '
                  f'| {row.macs / 1e9:.4f} | {row.paper_macs or ""} '
                  f'| {"differs" if row.differs else ""} |')
    return int(any(row.differs for row in rows))
