"""Render a data set of articulated people in COCO key-point format.

OUT gets the folders and annotation files of COCO (train2017, val2017 and
annotations), so that a config of MMPose trains on it once its data_root is
OUT. The pictures depend on --seed, --size and --max-people only. A data set
that exists with the same options is left as it is.
"""
import argparse
from typing import Any

from .options import add_flag, add_number, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``lgm-pose render``."""
    parser.add_argument('out', metavar='OUT', help='the data root to write')
    add_number(parser, '--train', 1000, 'images of train2017')
    add_number(parser, '--val', 200, 'images of val2017')
    add_number(parser, '--max-people', 3, 'most people per image')
    parser.add_argument(
        '--size',
        type=size,
        default=(320, 240),
        metavar='WIDTHxHEIGHT',
        help='size of the images in pixels (default: 320x240)')
    add_number(parser, '--seed', 0, 'seed of the pictures')
    add_flag(parser, '--overwrite', 'replace a rendered data set that exists')


def run(args: argparse.Namespace) -> int:
    """Render both splits and print what was done.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.
    """
    render(
        args.out,
        args.train,
        args.val,
        args.seed,
        image_size=args.size,
        max_people=args.max_people,
        overwrite=args.overwrite)
    return 0


def render(out: str, num_train: int, num_val: int, seed: int,
           **options: Any) -> None:
    """Render both splits, or keep those that are there, and say so.

    Args:
        out (str): The data root.
        num_train (int): Images of ``train2017``.
        num_val (int): Images of ``val2017``.
        seed (int): The seed of the pictures.
        **options: Further arguments of ``write_dataset``.

    Raises:
        ValueError: If a number is out of range or there are other data.
    """
    from lgm_pose_plugin.datasets.rendered.writer import write_dataset
    for split, number in (('train2017', num_train), ('val2017', num_val)):
        written = write_dataset(out, number, seed, split=split, **options)
        print(f'{out}: {number} images of {split}' if written else
              f'{out}: {split} exists with these options, nothing to do')
