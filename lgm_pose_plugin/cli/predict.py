"""find key points of people in pictures, videos and cameras

SOURCE is a picture, a folder, a pattern as "*/*.jpg", a video or webcam:0. The
network is a file of `lgm-pose export` (--model; needs no torch or MMPose) or a
checkpoint. Results go to OUT_DIR: predictions/*.json as MMPose's inferencers
write them, visualizations/* with skeletons. A source that fails is reported
and left out, and the exit status is 1; Ctrl-C keeps what is done (130).

example: lgm-pose predict people/ clip.mp4 --model lgm-pose.onnx
example: lgm-pose predict clip.mp4 --config CONFIG --checkpoint net.pth \\
    --det-config DET_CONFIG --det-checkpoint det.pth --track --smooth
"""
import argparse
import os.path as osp
from functools import partial
from importlib.util import find_spec
from typing import Any, Callable, Sequence, Tuple

from lgm_pose_plugin.setup_env import set_up_mmpose
from .detect import (BBOX_THR, NMS_THR, add_detector_arguments, choose_device,
                     open_detector)
from .options import add_cfg_options, parse_cfg_options

# For those who name no network: a model whose weights lie in the package.
DEFAULT_MODEL = 'lgm-pose_lsp-256x192'
OUT_DIR = 'predict_out'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose predict``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SOURCE',
        help='picture, folder, pattern, video, or webcam:N')
    network = parser.add_argument_group('network')
    network.add_argument(
        '--model',
        metavar='FILE',
        help='a file of `lgm-pose export`, .onnx or .xml')
    network.add_argument(
        '--backend',
        choices=('onnxruntime', 'openvino'),
        help='what runs FILE (default: ONNX Runtime for .onnx)')
    network.add_argument(
        '--threads',
        type=int,
        metavar='N',
        help='threads that run FILE (default: 1)')
    network.add_argument(
        '--config',
        metavar='CONFIG',
        help='instead of FILE, a top-down config: a path, '
        'mmpose::body_2d_keypoint/..., a model of `mim search '
        'lgm_pose_plugin` or a short name of `lgm-pose benchmark`')
    network.add_argument(
        '--checkpoint',
        metavar='FILE',
        help="the config's weights (default: those published of a model)")
    network.add_argument(
        '--flip-test',
        action='store_true',
        help='average with the mirrored image; FILE then has to be exported '
        'with --no-decode. A config may say so itself')
    add_cfg_options(network, 'options of CONFIG')

    people = parser.add_argument_group('people')
    people.add_argument(
        '--boxes',
        default='whole',
        metavar='whole|FILE',
        help='"whole": each image is a person (default); or a COCO-format '
        'JSON of pictures: annotations, or results with --ann-file')
    people.add_argument(
        '--ann-file',
        metavar='FILE',
        help='COCO annotation file that gives the ids of the pictures')
    people.add_argument(
        '--box',
        type=float,
        nargs=4,
        action='append',
        default=[],
        metavar=('LEFT', 'TOP', 'WIDTH', 'HEIGHT'),
        help='a box in pixels, for every image (can be repeated)')
    add_detector_arguments(people)

    video = parser.add_argument_group('videos and cameras')
    video.add_argument(
        '--track', action='store_true', help='give people track ids')
    video.add_argument(
        '--smooth',
        action='store_true',
        help='smooth the key points of each track (includes --track)')
    video.add_argument(
        '--det-every',
        type=int,
        default=1,
        metavar='N',
        help='run the detector on every Nth frame and when nobody is there; '
        'else take the key points of the frame before (default: %(default)s)')

    output = parser.add_argument_group('output')
    output.add_argument(
        '-o',
        '--out-dir',
        metavar='OUT_DIR',
        help=f'folder for all results (default: {OUT_DIR}, or none with '
        '--show or --coco-results)')
    output.add_argument(
        '--coco-results',
        metavar='FILE',
        help="write the pictures' key points in COCO's result format; ids are "
        'those of --ann-file or --boxes, else the numbers the names are, else '
        '1, 2, 3...')
    output.add_argument(
        '--no-draw', action='store_true', help='draw no pictures or videos')
    output.add_argument(
        '--draw-boxes', action='store_true', help='draw the boxes, too')
    output.add_argument(
        '--kpt-thr',
        type=float,
        default=0.3,
        metavar='SCORE',
        help='key points that are drawn have a higher score '
        '(default: %(default)s)')
    output.add_argument(
        '--show',
        action='store_true',
        help='show the images in a window; q ends, in pictures any other key '
        'goes on')


def run(args: argparse.Namespace) -> int:
    """Predict the sources.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0, 1 if a source failed, 128 and its number after a signal.

    Raises:
        FileNotFoundError: If a file other than a source is missing.
        ImportError: If a package that an option needs is missing.
        ValueError: If an argument is wrong.
    """
    check_arguments(args)
    from lgm_pose_plugin.apis.predictor import (Predictor, Settings,
                                                check_display, result_paths)
    from lgm_pose_plugin.apis.sources import count_images, find_sources
    from lgm_pose_plugin.utils.files import (check_inputs_kept, check_out_dir,
                                             check_out_file, write_json)
    from lgm_pose_plugin.utils.progress import Progress
    from lgm_pose_plugin.visualization.skeletons import Drawer

    out_dir = args.out_dir
    if out_dir is None and not (args.show or args.coco_results):
        out_dir = OUT_DIR
    sources, problems = find_sources(args.sources)
    results = [args.coco_results] if args.coco_results else []
    if args.coco_results:
        check_out_file(args.coco_results)
    if out_dir is not None:
        paths = [
            path for source in sources
            for path in result_paths(out_dir, source)
        ]
        for folder in sorted({osp.dirname(path) for path in paths}):
            check_out_dir(folder)
        results += paths
    check_inputs_kept(results, [source.path for source in sources] + [
        path for path in (args.boxes, args.ann_file, args.model,
                          args.checkpoint, args.det_checkpoint) if path
    ])
    if args.show:
        check_display()
    draw = not args.no_draw and (out_dir is not None or args.show)
    find_people = open_boxes(args)
    network, metadata = open_network(args)
    predictor = Predictor(
        network,
        find_people,
        out_dir=out_dir,
        drawer=Drawer(metadata['skeleton'], args.kpt_thr, args.draw_boxes)
        if draw else None,
        settings=Settings(
            track=args.track or args.smooth,
            smooth=args.smooth,
            find_every=args.det_every,
            show=args.show),
        image_ids=open_image_ids(
            args,
            [source.path for source in sources
             if source.kind == 'image']) if args.coco_results else None)
    with Progress(count_images(sources)) as progress:
        for problem in problems:
            progress.fail(problem)
        try:
            predictor.run(sources, progress)
        finally:
            if args.coco_results:
                write_json(args.coco_results, predictor.results)
    if out_dir is not None and progress.done:
        print(f'results: {out_dir}')
    return progress.exit_status()


def check_arguments(args: argparse.Namespace) -> None:
    """Check what argparse cannot.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Raises:
        ValueError: If arguments do not go together.
    """
    if args.checkpoint and not args.config:
        raise ValueError('--checkpoint needs --config')
    if args.model and args.config:
        raise ValueError('give either --model or --config')
    if not args.model and (args.backend or args.threads is not None):
        raise ValueError('--backend and --threads are for --model')
    if args.model and args.cfg_options:
        raise ValueError('--cfg-options are for --config, not for --model')
    if args.model and args.device and not args.det_config:
        raise ValueError('--device is for --config and --det-config; --model '
                         'runs on the CPU')
    if args.ann_file and args.boxes == 'whole' and not args.coco_results:
        raise ValueError('--ann-file is for --boxes and --coco-results')
    if bool(args.det_config) != bool(args.det_checkpoint):
        raise ValueError('--det-config and --det-checkpoint go together')
    if sum((args.boxes != 'whole', bool(args.box), bool(args.det_config))) > 1:
        raise ValueError('give only one of --boxes, --box and --det-config')
    if not args.det_config and (args.det_cat_ids or args.nms_thr != NMS_THR):
        raise ValueError('--det-cat-ids and --nms-thr are for --det-config')
    if (not args.det_config and args.boxes == 'whole'
            and args.bbox_thr != BBOX_THR):
        raise ValueError('--bbox-thr is for --det-config and --boxes FILE')
    if args.det_every < 1:
        raise ValueError(f'--det-every is at least 1, not {args.det_every}')
    if args.show and args.no_draw:
        raise ValueError('--show shows what --no-draw leaves out')
    if args.draw_boxes and args.no_draw:
        raise ValueError('--draw-boxes draws what --no-draw leaves out')


def open_network(args: argparse.Namespace) -> Tuple[Callable, dict]:
    """Open the network that finds key points.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        tuple[callable, dict]: See ``predict.Network``, and its metadata.
    """
    if args.model:
        from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
        model: Any = PoseRuntime(args.model, args.backend,
                                 1 if args.threads is None else args.threads)
        if args.flip_test and model.metadata['decode']:
            raise ValueError(
                f'{model.file} returns key points, the flip test averages '
                'heat maps; export it with --no-decode')
    else:
        model = _open_checkpoint(args)
    return partial(model, flip_test=args.flip_test), model.metadata


def _open_checkpoint(args: argparse.Namespace) -> Any:
    """Open the network of --config and --checkpoint, or the default one."""
    config = args.config or DEFAULT_MODEL
    if not args.config and not find_spec('mmpose'):
        raise ValueError('the default network needs MMPose, which is not '
                         'installed; give --model FILE of `lgm-pose export`')
    set_up_mmpose()
    from lgm_pose_plugin.apis.pose_model import PoseModel
    from lgm_pose_plugin.model_index import published_weights
    checkpoint = args.checkpoint or published_weights(config)
    return PoseModel(config, checkpoint, choose_device(args.device),
                     parse_cfg_options(args.cfg_options))


def open_boxes(args: argparse.Namespace) -> Callable:
    """Open what tells where people are.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        callable: See ``predict.FindPeople``.
    """
    from lgm_pose_plugin.apis.coco_files import BoxFile, from_xywh
    from lgm_pose_plugin.apis.predictor import whole_image
    if args.box:
        boxes = from_xywh(args.box)
        return lambda image, path: boxes
    if args.det_config:
        detector = open_detector(args)
        return lambda image, path: detector(image)
    if args.boxes != 'whole':
        box_file = BoxFile(args.boxes, args.ann_file, args.bbox_thr)
        return lambda image, path: box_file.find(path)
    return whole_image


def open_image_ids(args: argparse.Namespace, images: Sequence[str]) -> Any:
    """Open the ids that ``--coco-results`` needs.

    Args:
        args (argparse.Namespace): The parsed arguments.
        images (Sequence[str]): The pictures.

    Returns:
        ImageIds: The ids.
    """
    from lgm_pose_plugin.apis.coco_files import ImageIds
    if not images:
        raise ValueError('--coco-results is for pictures, and there are none')
    if args.ann_file or args.boxes != 'whole':
        return ImageIds.from_file(args.ann_file or args.boxes)
    return ImageIds.from_names(images)
