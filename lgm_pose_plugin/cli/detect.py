"""find the boxes of people in images, for `mim test` with detected boxes

Writes a list of COCO results (image_id, category_id 1, bbox as left, top,
width, height, and score), which configs name as bbox_file. The ids of the
images are those of --ann-file. Without it they are the numbers that the names
are, as 000000000139.jpg, or else 1, 2, 3 and so on; --images-json writes an
annotation file with them. An image that fails is reported and left out, and
the exit status is 1. Ctrl-C keeps what is done.

example: lgm-pose detect val2017/ -o person_boxes.json --detector rtmdet-m \\
    --ann-file annotations/person_keypoints_val2017.json
"""
import argparse
import os.path as osp

from .options import add_detector, add_file


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
    add_detector(parser, 'auto', score_thr=0.05, nms_thr=None)
    add_file(
        parser, '--images-json',
        'write an annotation file with the images and their ids, and without '
        'annotations')
    add_file(parser, '-o --out', 'the boxes', default='person_boxes.json')


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
    from lgm_pose_plugin.apis.person_detector import (PersonDetector,
                                                      detect_images,
                                                      image_info)
    from lgm_pose_plugin.apis.sources import common_folder, find_sources
    from lgm_pose_plugin.utils.files import (check_inputs_kept, check_out_file,
                                             write_json)
    from lgm_pose_plugin.utils.progress import Progress

    if args.ann_file and args.images_json:
        raise ValueError('--ann-file already lists the images; leave out '
                         '--images-json')
    outputs = [path for path in (args.out, args.images_json) if path]
    for path in outputs:
        check_out_file(path)
    sources, problems = find_sources(args.images)
    problems += [
        f'{source.path}: is not a picture' for source in sources
        if source.kind != 'image'
    ]
    paths = [source.path for source in sources if source.kind == 'image']
    if not paths:
        raise ValueError('there are no pictures: ' + '; '.join(problems))
    inputs = [*paths, args.detector, args.det_checkpoint, args.ann_file]
    check_inputs_kept(outputs, [path for path in inputs if path])
    ids = (
        ImageIds.from_file(args.ann_file)
        if args.ann_file else ImageIds.from_names(paths))
    detector = PersonDetector(args.detector, args.det_checkpoint,
                              args.det_cat_ids, args.bbox_thr, args.nms_thr,
                              args.device)
    with Progress(len(paths)) as progress:
        for problem in problems:
            progress.fail(problem)
        boxes, images = detect_images(detector, paths, ids, progress)
    write_json(args.out, boxes)
    print(f'{args.out}: {len(boxes)} boxes in {len(images)} images')
    if args.images_json:
        folder = common_folder(paths)
        write_json(args.images_json, image_info(images, folder))
        print(f'{args.images_json}: file names are relative to '
              f'{osp.relpath(folder)}')
    return progress.exit_status()
