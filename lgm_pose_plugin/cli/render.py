"""Render a data set of articulated people in COCO key-point format.

OUT gets the folders and annotation files of COCO (train2017, val2017 and
annotations), so that a config of MMPose trains on it once its data_root is
OUT. The pictures depend on --seed, --size and --max-people only. A data set
that exists with the same options is left as it is.
"""
import argparse
from typing import Tuple


def _parse_size(text: str) -> Tuple[int, int]:
    try:
        width, height = map(int, text.split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not WIDTHxHEIGHT, for example 320x240')
    return width, height


def _parse_number(text: str) -> int:
    # Checked here already: a wrong --val must not be told after the training
    # images are rendered.
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 1 on')
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``lgm-pose render``."""
    parser.add_argument('out', metavar='OUT', help='the data root to write')
    parser.add_argument(
        '--train',
        type=_parse_number,
        default=1000,
        help='images of train2017 (1000)')
    parser.add_argument(
        '--val',
        type=_parse_number,
        default=200,
        help='images of val2017 (200)')
    parser.add_argument(
        '--size',
        type=_parse_size,
        default=(320, 240),
        metavar='WIDTHxHEIGHT',
        help='size of the images in pixels (320x240)')
    parser.add_argument(
        '--max-people',
        type=_parse_number,
        default=3,
        help='most people per image (3)')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the pictures (0)')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace a rendered data set that exists')


def run(args: argparse.Namespace) -> int:
    """Render both splits and print what was done.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.
    """
    from lgm_pose_plugin.datasets.rendered.writer import write_dataset

    for split, num_images in (('train2017', args.train), ('val2017',
                                                          args.val)):
        written = write_dataset(
            args.out,
            num_images,
            args.seed,
            split=split,
            image_size=args.size,
            max_people=args.max_people,
            overwrite=args.overwrite)
        print(f'{args.out}: {num_images} images of {split}' if written else
              f'{args.out}: {split} exists with these options, nothing to do')
    return 0
