"""write a network to an ONNX or OpenVINO file that needs no MMPose

The file takes crops of people and returns their key points; whatever else a
program needs (input size, names of the key points, ...) is in its metadata,
see docs/export.md. It is run on crops and compared with MMPose before it is
written; the comparison is written to FILE.report.json. OpenVINO's format is a
pair of files, FILE.xml and FILE.bin.

example: lgm-pose export CONFIG epoch_210.pth --format onnx -o lgm-pose.onnx
"""
import argparse
from typing import Union

from . import add_cfg_options, parse_cfg_options, set_up_mmpose


def batch_size(text: str) -> Union[int, str]:
    """Parse ``--batch``: a number or ``dynamic``."""
    return text if text == 'dynamic' else int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose export``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument(
        'config',
        metavar='CONFIG',
        help='path of a top-down config, mmpose::body_2d_keypoint/... or a '
        'short name of `lgm-pose benchmark`')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='its weights')
    parser.add_argument(
        '--format',
        choices=('onnx', 'openvino'),
        default='onnx',
        help='(default: %(default)s)')
    parser.add_argument(
        '--batch',
        type=batch_size,
        default='dynamic',
        metavar='N',
        help='crops the graph takes at once, or "dynamic" for any number '
        '(default: %(default)s)')
    parser.add_argument(
        '--no-decode',
        action='store_true',
        help='return heat maps or SimCC vectors instead of key points')
    parser.add_argument(
        '--no-normalize',
        action='store_true',
        help='take normalized float32 crops (N, 3, H, W) instead of uint8 BGR '
        'crops (N, H, W, 3)')
    inputs = parser.add_mutually_exclusive_group()
    inputs.add_argument(
        '--images',
        nargs='+',
        default=[],
        metavar='PATH',
        help='pictures or folders for the check, a whole picture being the '
        'box of a person (default: rendered people)')
    inputs.add_argument(
        '--dataset',
        action='store_true',
        help="check on the first people of CONFIG's test data set")
    parser.add_argument(
        '--samples',
        type=int,
        default=16,
        metavar='N',
        help='people the check takes at most (default: %(default)s)')
    add_cfg_options(
        parser,
        'options of CONFIG, e.g. test_dataloader.dataset.bbox_file=None')
    parser.add_argument(
        '-o',
        '--out',
        required=True,
        metavar='FILE',
        help='the file to write, ending in .onnx or .xml')


def run(args: argparse.Namespace) -> int:
    """Export the network and print what the check found.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ImportError: If a package that exports or checks is missing.
        ValueError: If an argument does not fit the network, or the file does
            not compute what MMPose computes.
    """
    cfg_options = parse_cfg_options(args.cfg_options)
    set_up_mmpose()
    try:
        from ..export import export
    except ModuleNotFoundError as error:
        raise ImportError(f'{error}; pip install onnx onnxruntime '
                          'openvino') from error
    report = export(
        args.config,
        args.checkpoint,
        args.out,
        format=args.format,
        batch=args.batch,
        decode=not args.no_decode,
        normalize=not args.no_normalize,
        images=args.images,
        dataset=args.dataset,
        samples=args.samples,
        cfg_options=cfg_options)
    check = report['check']
    print(f'{args.out}: {report["bytes"] / 1e6:.2f} MB')
    print('checked against MMPose on {number_of_crops} crops ({crops}): '
          'maps differ by at most {maps_max_difference:.1e}'.format(**check))
    if 'compared_keypoints' in check:
        print('{compared_keypoints} key points differ by at most '
              '{keypoints_max_difference_px:.1e} px, {other_keypoints} others '
              'depend on rounding'.format(**check))
    return 0
