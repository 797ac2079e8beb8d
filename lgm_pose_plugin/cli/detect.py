"""find the boxes of people in images, for `mim test` with detected boxes

Any detector of MMDetection with a class person. Writes a list of COCO results
(image_id, category_id 1, bbox as left, top, width, height, and score) that
configs name as bbox_file. The ids of the images are those of --ann-file; else
the numbers that the names are, as 000000000139.jpg, or 1, 2, 3 and so on, and
--images-json writes an annotation file that tells them. An image that fails is
reported and left out, and the exit status is 1; Ctrl-C keeps what is done.

example: lgm-pose detect val2017/ -o person_boxes.json --det-config \\
    mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py --det-checkpoint rtmdet_m.pth \\
    --ann-file annotations/person_keypoints_val2017.json
"""
import argparse
import os.path as osp
from typing import TYPE_CHECKING, Optional

from lgm_pose_plugin.setup_env import set_up_mmpose

if TYPE_CHECKING:
    from lgm_pose_plugin.apis.person_detector import PersonDetector

# Of boxes and of their overlap, as in MMPose's inferencers.
BBOX_THR, NMS_THR = 0.3, 0.3


def add_detector_arguments(parser: argparse.ArgumentParser,
                           required: bool = False,
                           score_thr: float = BBOX_THR,
                           nms_thr: Optional[float] = NMS_THR) -> None:
    """Add the arguments that choose a detector.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
        required (bool): Whether there has to be one. Defaults to ``False``.
        score_thr (float): Default of ``--bbox-thr``. Defaults to 0.3.
        nms_thr (float, optional): Default of ``--nms-thr``. Defaults to 0.3.
    """
    parser.add_argument(
        '--det-config',
        required=required,
        metavar='CONFIG',
        help='an MMDetection config that finds the people, a path or as '
        'mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py')
    parser.add_argument(
        '--det-checkpoint',
        required=required,
        metavar='FILE',
        help='its weights')
    parser.add_argument(
        '--det-cat-ids',
        type=int,
        nargs='+',
        metavar='N',
        help='classes of the detector to take, from 0 (default: the one '
        'called person)')
    parser.add_argument(
        '--bbox-thr',
        type=float,
        default=score_thr,
        metavar='SCORE',
        help='leave out boxes with at most this score (default: %(default)s)')
    parser.add_argument(
        '--nms-thr',
        type=float,
        default=nms_thr,
        metavar='IOU',
        help='of two boxes of a detector that overlap by more, keep one '
        '(default: ' + ('%(default)s)' if nms_thr else 'as the detector)'))
    parser.add_argument(
        '--device',
        help='of checkpoints, as cuda:0 (default: a GPU if there is one)')


def choose_device(name: Optional[str]) -> str:
    """Choose the device of a checkpoint's network.

    Args:
        name (str, optional): What ``--device`` says; without it, a GPU if
            there is one.

    Returns:
        str: The device.

    Raises:
        ValueError: If torch does not know the device or cannot use it.
    """
    import torch
    from mmengine.device import get_device
    device = name or get_device()
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'--device {device} cannot be used: '
                         f'{str(error).splitlines()[0]}') from error
    return device


def open_detector(args: argparse.Namespace) -> 'PersonDetector':
    """Open the detector that :func:`add_detector_arguments` chose.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        PersonDetector: The detector.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If config, checkpoint or classes do not fit, or the device
            cannot be used.
    """
    set_up_mmpose()
    from lgm_pose_plugin.apis.person_detector import PersonDetector
    return PersonDetector(args.det_config, args.det_checkpoint,
                          args.det_cat_ids, args.bbox_thr, args.nms_thr,
                          choose_device(args.device))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose detect``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument(
        'images',
        nargs='+',
        metavar='IMAGES',
        help='folder, picture or pattern as "*/*.jpg"')
    add_detector_arguments(parser, required=True, score_thr=0.05, nms_thr=None)
    parser.add_argument(
        '--ann-file',
        metavar='FILE',
        help='COCO annotation file that gives the ids of the images')
    parser.add_argument(
        '--images-json',
        metavar='FILE',
        help='write an annotation file with the images and their ids, and '
        'without annotations')
    parser.add_argument(
        '-o',
        '--out',
        default='person_boxes.json',
        metavar='FILE',
        help='the file of boxes to write (default: %(default)s)')


def run(args: argparse.Namespace) -> int:
    """Detect people and write their boxes.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0, 1 if an image failed, 128 and its number after a signal.

    Raises:
        FileNotFoundError: If a file other than an image is missing.
        ValueError: If an argument is wrong.
    """
    from lgm_pose_plugin.apis.coco_files import ImageIds
    from lgm_pose_plugin.apis.sources import common_folder, find_sources
    from lgm_pose_plugin.utils.files import (check_inputs_kept, check_out_file,
                                             write_json)
    from lgm_pose_plugin.utils.progress import Progress

    if args.ann_file and args.images_json:
        raise ValueError('--ann-file tells the images already, leave out '
                         '--images-json')
    if args.images_json and osp.realpath(args.images_json) == osp.realpath(
            args.out):
        raise ValueError(f'--out and --images-json are both {args.out}; give '
                         'two files')
    outputs = [path for path in (args.out, args.images_json) if path]
    for path in outputs:
        check_out_file(path)
    sources, problems = find_sources(args.images)
    problems += [
        f'{source.path}: is no picture' for source in sources
        if source.kind != 'image'
    ]
    paths = [source.path for source in sources if source.kind == 'image']
    if not paths:
        raise ValueError('there are no pictures: ' + '; '.join(problems))
    check_inputs_kept(outputs, [*paths, args.det_checkpoint] +
                      ([args.ann_file] if args.ann_file else []))
    ids = (
        ImageIds.from_file(args.ann_file)
        if args.ann_file else ImageIds.from_names(paths))
    detector = open_detector(args)
    from lgm_pose_plugin.apis.person_detector import detect_images, image_info
    with Progress(len(paths)) as progress:
        for problem in problems:
            progress.fail(problem)
        boxes, images = detect_images(detector, paths, ids, progress)
    write_json(args.out, boxes)
    if args.images_json:
        folder = common_folder(paths)
        write_json(args.images_json, image_info(images, folder))
    print(f'{args.out}: {len(boxes)} boxes in {len(images)} images')
    if args.images_json:
        print(f'{args.images_json}: file names are relative to '
              f'{osp.relpath(folder)}')
    return progress.exit_status()
