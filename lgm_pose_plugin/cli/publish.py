"""write a checkpoint's weights to a small file for release

Keeps the weights (the averaged ones, if an EMAHook was used) and, of the
meta data, the config's text, epoch, iteration, time and versions. Drops
optimizer, schedulers, logs and numpy values, and takes work_dir, load_from,
resume and absolute paths out of the config's text. The result loads
everywhere with torch.load(weights_only=True) and is called
<name>-<first 8 digits of its sha256>_<date>.pth.
"""
import argparse

from .options import add_flag


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose publish``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument('checkpoint', help='a checkpoint saved by MMEngine')
    parser.add_argument(
        '-o',
        '--out',
        help='folder, or file name ending in .pth to which hash and date are '
        'added (default: the folder of the checkpoint)')
    add_flag(parser, '--half',
             'store the weights of convolutions and linear layers as float16')


def run(args: argparse.Namespace) -> int:
    """Publish a checkpoint and print the path of the result.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        OSError: If the result cannot be written.
        ValueError: If it cannot be published.
    """
    from lgm_pose_plugin.checkpoint.publishing import publish_checkpoint
    print(publish_checkpoint(args.checkpoint, args.out, args.half))
    return 0
