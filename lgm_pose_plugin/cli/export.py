"""write a network to a file that needs no MMPose

--format onnx and openvino are for computers and servers, tflite (LiteRT),
ncnn and coreml (Apple) for phones and edge devices.

The file takes crops of people and returns their key points. Its metadata hold
what else a program needs (input size, names of the key points, ...), see
docs/export.md. Before the file is written, it is run on crops and compared
with MMPose. FILE.report.json has the comparison. OpenVINO's format is a pair
of files, FILE.xml and FILE.bin; ncnn's are FILE.param, FILE.bin and FILE.json.
Core ML's FILE.mlpackage is a folder.

CONFIG may be an RTMDet or YOLOX of MMDetection. The file then takes whole
images and returns the boxes of people, and the check compares it with
MMDetection on --images.

--int8 quantises the network after this check, on the people of --dataset or
--images, and compares the int8 file with the float file: key points, and with
--dataset the config's own metrics.

examples:
  lgm-pose export lgm-pose_lsp-256x192 -o lgm-pose_lsp.onnx
  lgm-pose export CONFIG epoch_210.pth --format onnx -o lgm-pose.onnx
  lgm-pose export CONFIG epoch_210.pth --format tflite -o lgm-pose.tflite
  lgm-pose export CONFIG epoch_210.pth --int8 --dataset -o lgm-pose-int8.onnx
  lgm-pose export mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py rtmdet_m.pth \\
      -o rtmdet_m.onnx
"""
import argparse
from typing import Any, Dict, Union

from lgm_pose_plugin.setup_env import set_up_mmpose
from .options import (add_cat_ids, add_cfg_options, add_config, add_file,
                      add_flag, add_format, add_inputs, add_number,
                      parse_cfg_options)


def batch_size(text: str) -> Union[int, str]:
    """Parse ``--batch``: a number or ``dynamic``."""
    return text if text == 'dynamic' else int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose export``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    add_config(parser, 'its weights (default: those published of a model)')
    add_format(
        parser,
        'onnx',
        'openvino',
        'tflite',
        'ncnn',
        'coreml',
        help='of the file')
    parser.add_argument(
        '--batch',
        type=batch_size,
        metavar='N',
        help='crops the graph takes at once, or "dynamic" for any number '
        '(default: dynamic, in tflite, ncnn and coreml 1)')
    add_flag(
        parser, '--no-decode',
        'return heat maps or SimCC vectors instead of key points, as '
        "ncnn's and Core ML's files always do")
    add_flag(
        parser, '--no-normalize',
        'take normalized float32 crops (N, 3, H, W) instead of uint8 BGR '
        'crops (N, H, W, 3)')
    add_flag(
        parser, '--rtmlib',
        'take crops as rtmlib normalizes them and return heat maps or SimCC '
        'vectors, for rtmlib, Sports2D and Pose2Sim')
    add_inputs(
        parser,
        images='pictures or folders for the check and for --int8, a whole '
        'picture being the box of a person (default: rendered people for the '
        'check)',
        dataset="check on the first people of CONFIG's test data set, "
        'calibrate --int8 on people of its training data set, and take its '
        'metrics before and after')
    add_number(parser, '--samples', 16, 'people the check takes at most')
    add_flag(
        parser, '--float16',
        'store weights in 16 bits; ONNX and Core ML files compute in them, '
        'too')
    add_flag(
        parser, '--int8',
        'quantise the network to 8 bits, in tflite its weights alone; needs '
        '--images or --dataset')
    add_number(parser, '--calibration-samples', 300,
               'people --int8 calibrates on at most')
    add_number(
        parser, '--eval-samples', None,
        'with --int8 --dataset, take the metrics from the images of the first '
        'N people (default: the whole test data set)')
    add_flag(parser, '--reduce-range',
             'with --int8, weights of 7 bits, for x86 CPUs without VNNI')
    add_cat_ids(parser)
    add_cfg_options(
        parser,
        'options of CONFIG, e.g. test_dataloader.dataset.bbox_file=None')
    targets = parser.add_mutually_exclusive_group(required=True)
    add_file(targets, '-o --out',
             'ending in .onnx, .xml, .tflite, .param or .mlpackage')
    targets.add_argument(
        '--model-repository',
        metavar='FOLDER',
        help='write FOLDER/CONFIG/1/model.onnx (or .xml) and a config.pbtxt, '
        'for Triton and OpenVINO Model Server')


def run(args: argparse.Namespace) -> int:
    """Export the network and print what the check found.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ImportError: If a package that exports or checks is missing.
        ValueError: If an argument does not fit the network, the file does
            not compute what MMPose computes, or int8 destroys the network.
    """
    cfg_options = parse_cfg_options(args.cfg_options)
    set_up_mmpose()
    from lgm_pose_plugin.models.builder import load_config
    if 'bbox_head' in load_config(args.config, cfg_options).get('model', {}):
        return run_detector(args, cfg_options)
    from lgm_pose_plugin.export.exporter import export
    from lgm_pose_plugin.export.model_repository import (repository_file,
                                                         write_triton_config)
    from lgm_pose_plugin.model_index import published_weights
    out = args.out or repository_file(args.model_repository, args.config,
                                      args.format)
    report = export(
        args.config,
        args.checkpoint or published_weights(args.config),
        out,
        format=args.format,
        batch=args.batch,
        decode=not args.no_decode,
        normalize=not args.no_normalize,
        images=args.images,
        dataset=args.dataset,
        samples=args.samples,
        float16=args.float16,
        rtmlib=args.rtmlib,
        int8=args.int8,
        calibration=args.calibration_samples,
        eval_samples=args.eval_samples,
        reduce_range=args.reduce_range,
        cfg_options=cfg_options)
    check = report['check']
    print(f'{out}: {report["bytes"] / 1e6:.2f} MB')
    print('checked against MMPose on {number_of_crops} crops ({crops}): '
          'maps differ by at most {maps_max_difference:.1e}'.format(**check))
    if args.format == 'coreml':
        print('Core ML runs on Apple devices alone: the check ran what was '
              'converted, in torch')
    if 'compared_keypoints' in check:
        print('{compared_keypoints} key points differ by at most '
              '{keypoints_max_difference_px:.1e} px, {other_keypoints} others '
              'depend on rounding'.format(**check))
    if args.model_repository:
        print(write_triton_config(out, report))
    int8 = report.get('int8')
    if not int8:
        return 0
    print(f'float32: {int8["bytes_float32"] / 1e6:.2f} MB')
    if int8['calibration']['number_of_crops']:
        print('int8 calibrated on {number_of_crops} crops ({crops})'.format(
            **int8['calibration']))
    print('of {confident_keypoints} confident key points on {number_of_crops} '
          'crops {near:.1%} moved by at most {near_px:g} px, the mean is '
          '{mean_distance_px:.2f} px'.format(**int8['agreement']))
    before, after = (
        int8.get('accuracy', {}).get(name, {}) for name in ('float32', 'int8'))
    for metric, value in before.items():
        print(f'{metric}: {value:.4f} in float32, {after[metric]:.4f} in int8')
    return 0


def run_detector(args: argparse.Namespace, cfg_options: Dict[str, Any]) -> int:
    """Export a person detector and print what the check found.

    Args:
        args (argparse.Namespace): The parsed arguments.
        cfg_options (dict): Options of the config.

    Returns:
        int: 0.

    Raises:
        FileNotFoundError: See :func:`run`.
        ImportError: See :func:`run`.
        ValueError: See :func:`run`, or an option is not for detectors.
    """
    for option in ('no_decode', 'dataset', 'float16', 'int8', 'eval_samples',
                   'rtmlib', 'model_repository', 'reduce_range'):
        if getattr(args, option):
            raise ValueError(f'--{option.replace("_", "-")} is not for '
                             'detectors')
    if not args.checkpoint:
        raise ValueError('give the weights of the detector: CHECKPOINT')
    from lgm_pose_plugin.export.detector import export_detector
    report = export_detector(
        args.config,
        args.checkpoint,
        args.out,
        format=args.format,
        batch=args.batch,
        normalize=not args.no_normalize,
        images=args.images,
        samples=args.samples,
        cat_ids=args.det_cat_ids,
        cfg_options=cfg_options)
    print(f'{args.out}: {report["bytes"] / 1e6:.2f} MB')
    print('checked against MMDetection on {number_of_images} images: '
          '{compared_boxes} boxes differ by at most '
          '{boxes_max_difference_px:.1e} px and {scores_max_difference:.1e} '
          'in score, {other_boxes} others depend on rounding'.format(
              **report['check']))
    return 0
