"""time networks against each other on this CPU

Without a config: LGM-Pose A, L, B and with MobileViT blocks, and MMPose's
MobileNetV2, Lite-HRNet-18 and RTMPose-t. Every round runs each network once,
in an order of its own. What is timed is the plain network (backbone, neck and
head, random weights, eager PyTorch, float32, no flip test, no decoding).
Nothing is downloaded. Compare the ratios: absolute times are of one machine
and its load. On a shared machine use one thread.
"""
import argparse
import json
from typing import Tuple

from . import set_up_mmpose


def _hxw(text: str) -> Tuple[int, int]:
    """Parse '256x192'."""
    height, width = text.split('x')
    return int(height), int(width)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose benchmark``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument(
        'configs',
        nargs='*',
        metavar='CONFIG',
        help='lgm-pose, lgm-pose-l, lgm-pose-b, lgm-pose-mobilevit, '
        'lapx, lap, mobilenetv2, litehrnet-18, rtmpose-t, '
        'mmpose::body_2d_keypoint/... or the path of a top-down config '
        '(default: all nine)')
    for name, default, text in (('threads', 1, 'threads of PyTorch'),
                                ('batch', 1, 'images per forward pass'),
                                ('rounds', 200, 'forward passes of each')):
        parser.add_argument(
            f'--{name}',
            type=int,
            default=default,
            metavar='N',
            help=f'{text} (default: %(default)s)')
    parser.add_argument(
        '--input-size',
        type=_hxw,
        default=(256, 192),
        metavar='HxW',
        help='input of all networks, whatever the configs say '
        '(default: 256x192)')
    parser.add_argument(
        '--baseline',
        metavar='CONFIG',
        help='network the ratios refer to (default: the first)')
    parser.add_argument(
        '--memory-format',
        choices=('contiguous', 'channels_last'),
        default='contiguous',
        help='of all networks (default: %(default)s)')
    parser.add_argument(
        '--format', choices=('markdown', 'json'), default='markdown')


def run(args: argparse.Namespace) -> int:
    """Print the table or JSON.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.
    """
    set_up_mmpose()
    from ..benchmark import NETWORKS, run_benchmark
    report = run_benchmark(
        args.configs or list(NETWORKS),
        input_size=args.input_size,
        batch=args.batch,
        threads=args.threads,
        rounds=args.rounds,
        baseline=args.baseline,
        memory_format=args.memory_format)
    environment, results = report['environment'], report['results']
    if args.format == 'json':
        report['results'] = [result._asdict() for result in results]
        print(json.dumps(report, indent=2))
        return 0
    print('| network | params (M) | MACs (G) | median (ms) | p10-p90 (ms) '
          '| images/s | ratio |')
    print('| --- | ---: | ---: | ---: | ---: | ---: | ---: |')
    for row in results:
        print(f'| {row.name} | {row.params / 1e6:.3f} | {row.macs / 1e9:.3f} '
              f'| {row.median_ms:.1f} | {row.p10_ms:.1f}-{row.p90_ms:.1f} '
              f'| {row.images_per_second:.1f} | {row.ratio:.2f} |')
    print()
    for key, value in environment.items():
        print(f'- {key}: {value}')
    if environment['busy']:
        print('\nWARNING: other processes were busy at the start (see the '
              'load average). The times say little; only the ratios do.')
    return 0
