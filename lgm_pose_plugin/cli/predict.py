"""find key points of people in pictures, videos, cameras and streams

SOURCE is a picture, a folder, a pattern as "*/*.jpg", a video, webcam:0 or an
address as rtsp://camera/stream or https://host/clip.mp4. The network is one of
the package or a file of `lgm-pose export` (--model; both need no torch or
MMPose), or a checkpoint; --detector finds the people. Results go to OUT_DIR:
predictions/*.json as MMPose's inferencers write them, visualizations/* with
skeletons. A source that fails is reported and left out, and the exit status is
1; Ctrl-C keeps what is done (130).

example: lgm-pose predict people/ clip.mp4
example: lgm-pose predict clip.mp4 --config CONFIG --checkpoint net.pth \\
    --detector rtmdet.onnx --track --smooth
"""
import argparse
import math
import os
import os.path as osp
from contextlib import ExitStack, closing
from itertools import groupby
from operator import attrgetter
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from lgm_pose_plugin.setup_env import set_up_mmpose
from .options import (CONFIG, add_cfg_options, add_detector, add_file,
                      add_flag, add_number, parse_cfg_options)

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
        help='picture, folder, pattern, video, webcam:N or address')
    add_number(parser, '--timeout', 10.,
               'seconds that an address may give nothing', 'SECONDS')
    network = parser.add_argument_group('network')
    add_file(
        network, '--model',
        'a file of `lgm-pose export`, as .onnx or .tflite, '
        'or the name of a network of the package (default: '
        'lgm-pose_body17-256x192)')
    network.add_argument(
        '--backend',
        choices=('onnxruntime', 'openvino'),
        help='what runs FILE (default: ONNX Runtime for .onnx)')
    add_number(network, '--threads', None,
               'threads that run FILE (default: 1)')
    network.add_argument('--config', help=f'instead of FILE, {CONFIG}')
    add_file(network, '--checkpoint',
             "the config's weights (default: those published of a model)")
    add_flag(
        network, '--flip-test',
        'average with the mirrored image; FILE then has to be exported with '
        '--no-decode. A config may say so itself')
    add_number(
        network, '--batch', 1, 'pictures or frames whose people are one batch '
        'of the network; with --det-every each is one by itself')
    add_cfg_options(network, 'options of CONFIG')

    people = parser.add_argument_group('people')
    people.add_argument(
        '--boxes',
        metavar='whole|FILE',
        help='in place of a detector: each image is the box of a person; or a '
        'COCO-format JSON of pictures: annotations, or results with '
        '--ann-file')
    people.add_argument(
        '--category',
        metavar='NAME',
        help='category of the annotations to take (default: person, or the '
        'only one)')
    people.add_argument(
        '--box',
        type=float,
        nargs=4,
        action='append',
        default=[],
        metavar=('LEFT', 'TOP', 'WIDTH', 'HEIGHT'),
        help='a box in pixels, for every image (can be repeated)')
    add_detector(
        people,
        whole='; whole: one person, found in the whole image and '
        'again around the key points (default: auto, and whole where that '
        'cannot be had)')

    video = parser.add_argument_group(
        'videos, cameras and streams',
        'With --track, --smooth or --det-every the pictures of each folder '
        'are the frames of a video, too, in the order of their names.')
    add_flag(video, '--track', 'give people track ids')
    add_flag(video, '--smooth',
             'smooth the key points of each track (includes --track)')
    add_number(
        video, '--det-every', 1,
        'run the detector on every Nth frame and when somebody is lost; else '
        'take the key points of the frame before')
    add_number(video, '--fps', 30., 'pictures of a folder per second', 'FPS')

    output = parser.add_argument_group('output')
    output.add_argument(
        '-o',
        '--out-dir',
        help=f'folder for all results (default: {OUT_DIR}, or none with '
        '--show or a FILE of results)')
    add_file(
        output, '--coco-results',
        "write the pictures' key points in COCO's result format; ids are "
        'those of --ann-file or --boxes, else the numbers the names are, else '
        '1, 2, 3...')
    add_file(
        output, '--coco-annotations',
        "write the pictures' people as COCO annotations, to correct and train "
        'on: key points with a score above --kpt-thr')
    add_file(
        output, '--csv', 'write a table: one row a person and frame, with '
        'time, track, box and named key points')
    add_flag(output, '--openpose',
             "write OpenPose's JSON for each frame to OUT_DIR/openpose")
    add_flag(output, '--no-draw', 'draw no pictures or videos')
    add_flag(output, '--draw-boxes', 'draw the boxes, too')
    add_number(output, '--kpt-thr', 0.3,
               'key points that are drawn or annotated have a higher score',
               'SCORE')
    add_flag(
        output, '--show', 'show the images in a window; q ends, in pictures '
        'any other key goes on')


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
    from lgm_pose_plugin.apis.predictor import Predictor
    from lgm_pose_plugin.apis.sources import (count_images, find_sources,
                                              quiet_opencv)
    from lgm_pose_plugin.utils.progress import Progress
    from lgm_pose_plugin.visualization.window import Window

    out_dir = args.out_dir
    if out_dir is None and (args.openpose
                            or not (args.show or result_files(args))):
        out_dir = OUT_DIR
    quiet_opencv()
    sources, problems = find_sources(args.sources)
    check_files(args, out_dir, sources)
    with ExitStack() as stack:
        window = None
        if args.show:
            window = stack.enter_context(closing(Window()))
        network, metadata = open_network(args)
        find_people, notes = open_boxes(args, network)
        if not args.no_draw and (out_dir is not None or window):
            import supervision  # noqa: F401, missing not only at a picture
        sinks = [
            stack.enter_context(closing(sink))
            for sink in open_sinks(args, out_dir, sources, metadata)
        ]
        predictor = Predictor(
            network,
            find_people,
            metadata['skeleton'],
            track=args.track,
            smooth=args.smooth,
            find_every=args.det_every,
            batch_size=args.batch,
            picture_fps=args.fps,
            timeout=args.timeout)
        progress = stack.enter_context(Progress(count_images(sources)))
        for note in notes:
            progress.note(note)
        for problem in problems:
            progress.fail(problem)
        write_results(args, predictor, sources, out_dir, sinks, window,
                      progress)
    if args.coco_annotations:
        print(f'{args.coco_annotations}: file names are relative to '
              f'{pictures_folder(sources)}')
    if out_dir is not None and progress.done:
        print(f'results: {out_dir}')
    return progress.exit_status()


def write_results(args: argparse.Namespace, predictor: Any,
                  sources: Sequence[Any], out_dir: Optional[str],
                  sinks: Sequence[Any], window: Any, progress: Any) -> None:
    """Write and show results as they come.

    A source that fails is reported, and the others go on.

    Args:
        args (argparse.Namespace): The parsed arguments.
        predictor (Predictor): Gives the results.
        sources (Sequence[Source]): The sources.
        out_dir (str, optional): The folder of the results.
        sinks (Sequence[callable]): Each writes every result somewhere else.
        window (Window, optional): Shows what is drawn.
        progress (Progress): Counts, and tells when to stop.
    """
    from lgm_pose_plugin.apis.results import SourceWriter
    from lgm_pose_plugin.apis.sources import ERRORS, further_frames
    drawing = not args.no_draw and (out_dir is not None or window)
    nobody: List[str] = []

    def write(result: Any, writer: Any) -> None:
        drawn = None
        for sink in sinks:
            sink(result)
        if drawing:
            drawn = result.draw(args.kpt_thr, args.draw_boxes)
        if writer:
            writer.write(result, drawn)
        progress.advance()
        is_picture = result.frame_id is None
        if is_picture and not len(result.keypoints):
            nobody.append(result.source.title)
        if window and window.show(drawn, wait=0 if is_picture else 1):
            progress.stop()

    def fail(source: Any, error: Exception) -> None:
        progress.fail(f'{source.title}: {error}')

    with closing(predictor.predict(sources, fail)) as results:
        for source, some in groupby(results, attrgetter('source')):
            further = source.kind == 'image' and further_frames(source.path)
            if further:
                progress.note(f'{source.title}: the first of {further + 1} '
                              f'frames or pages; {further} are left out')
            try:
                with ExitStack() as stack:
                    writer = None
                    if out_dir is not None:
                        writer = stack.enter_context(
                            closing(SourceWriter(out_dir, source)))
                    for result in some:
                        write(result, writer)
                        if progress.stopped is not None:
                            break
            except ERRORS as error:
                fail(source, error)
                predictor.skipped.add(source.name)
            if progress.stopped is not None:
                break
    if nobody:
        progress.note(f'nobody in {len(nobody)} of the pictures, the '
                      f'first is {nobody[0]}')


def check_arguments(args: argparse.Namespace) -> None:
    """Check what argparse cannot.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Raises:
        ValueError: If arguments do not go together.
    """
    people = args.boxes, args.box, args.detector
    for wrong, message in (
        (args.model and args.config, 'give either --model or --config'),
        (args.checkpoint and not args.config, '--checkpoint needs --config'),
        (args.config and (args.backend or args.threads is not None),
         '--backend and --threads are for --model'),
        (args.cfg_options
         and not args.config, '--cfg-options needs --config'),
        (args.det_checkpoint and not args.detector,
         '--det-checkpoint needs a config as --detector'),
        (sum(map(bool, people)) > 1,
         'give only one of --boxes, --box and --detector'),
        (args.batch < 1, f'--batch is at least 1, not {args.batch}'),
        (args.det_every < 1,
         f'--det-every is at least 1, not {args.det_every}'),
        (not 0 < args.fps < math.inf, f'--fps is above 0, not {args.fps}'),
        (not 0 < args.timeout <= 10**6,
         f'--timeout is above 0, not {args.timeout}'),
        (args.no_draw and (args.show or args.draw_boxes),
         '--no-draw leaves out what --show and --draw-boxes show'),
    ):  # yapf: disable
        if wrong:
            raise ValueError(message)


def result_files(args: argparse.Namespace) -> List[str]:
    """List the files of results that do not lie in the folder.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        list[str]: Their paths.
    """
    files = args.coco_results, args.coco_annotations, args.csv
    return [path for path in files if path]


def check_files(args: argparse.Namespace, out_dir: Optional[str],
                sources: Sequence[Any]) -> None:
    """Check that results can be written and replace nothing that is read.

    Args:
        args (argparse.Namespace): The parsed arguments.
        out_dir (str, optional): The folder of the results.
        sources (Sequence[Source]): What is read.

    Raises:
        FileNotFoundError: If a folder is missing.
        ValueError: If a result cannot be written or would replace an input.
    """
    from lgm_pose_plugin.apis.results import result_paths
    from lgm_pose_plugin.utils.files import (check_inputs_kept, check_out_dir,
                                             check_out_file)
    results: List[str] = []
    if out_dir is not None:
        check_out_dir(out_dir)
        for source in sources:
            results += result_paths(out_dir, source)
    for path in result_files(args):
        check_out_file(path)
        results.append(path)
    inputs = [source.path for source in sources]
    inputs += filter(None,
                     (args.boxes, args.ann_file, args.model, args.checkpoint,
                      args.detector, args.det_checkpoint))
    check_inputs_kept(results, inputs)


def open_network(args: argparse.Namespace) -> Tuple[Any, Any]:
    """Open the network that finds key points.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        tuple[callable, dict]: See ``inferencer.open_exported``.

    Raises:
        FileNotFoundError: If a file is missing.
        ImportError: If what runs the network is missing.
        ValueError: If the network cannot be opened, or cannot do the flip
            test.
    """
    from lgm_pose_plugin.apis.inferencer import (DEFAULT_MODEL,
                                                 open_checkpoint,
                                                 open_exported)
    if not args.config:
        threads = 1 if args.threads is None else args.threads
        return open_exported(args.model or DEFAULT_MODEL, args.backend,
                             threads, args.flip_test, args.device or 'cpu')
    set_up_mmpose()
    return open_checkpoint(args.config, args.checkpoint, args.device,
                           args.flip_test, parse_cfg_options(args.cfg_options))


def open_boxes(args: argparse.Namespace,
               network: Any) -> Tuple[Any, List[str]]:
    """Open what tells where people are.

    Args:
        args (argparse.Namespace): The parsed arguments.
        network (callable): The network that finds key points.

    Returns:
        tuple[callable, list[str]]: See ``Predictor``; and what to tell of it.
    """
    from lgm_pose_plugin.apis.coco_files import BoxFile, from_xywh
    from lgm_pose_plugin.apis.inferencer import open_detector
    if args.box:
        boxes = from_xywh(args.box)
        return lambda frame: boxes, []
    if args.boxes and args.boxes != 'whole':
        box_file = BoxFile(args.boxes, args.ann_file, args.bbox_thr,
                           args.category)
        return lambda frame: box_file.find(frame.source.path), box_file.notes
    detector, notes = open_detector(
        network, 'whole_image' if args.boxes else args.detector,
        args.det_checkpoint, args.det_cat_ids, args.bbox_thr, args.nms_thr,
        args.device, args.threads or 1)
    return lambda frame: detector(frame.image), notes


def open_sinks(args: argparse.Namespace, out_dir: Optional[str],
               sources: Sequence[Any], metadata: Any) -> Iterator[Any]:
    """Open what results are written to beside the folder's JSON and drawings.

    Args:
        args (argparse.Namespace): The parsed arguments.
        out_dir (str, optional): The folder of the results.
        sources (Sequence[Source]): What is read.
        metadata (dict): See :func:`open_network`.

    Yields:
        callable: Takes each result; ``close`` ends it.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If there are no pictures for COCO's formats.
    """
    from lgm_pose_plugin.apis.results import (CocoAnnotations, CocoResults,
                                              CsvWriter, OpenPoseWriter)
    names = metadata['keypoint_names']
    ids: Any = None
    if args.coco_results or args.coco_annotations:
        ids = open_image_ids(args, sources)
    if args.openpose:
        yield OpenPoseWriter(osp.join(out_dir or OUT_DIR, 'openpose'))
    if args.coco_results:
        yield CocoResults(args.coco_results, ids)
    if args.coco_annotations:
        yield CocoAnnotations(args.coco_annotations, ids,
                              pictures_folder(sources), names,
                              metadata['skeleton'], args.kpt_thr)
    if args.csv:
        yield CsvWriter(args.csv, names)


def pictures_folder(sources: Sequence[Any]) -> str:
    """Find the folder that holds all pictures.

    Args:
        sources (Sequence[Source]): What is read.

    Returns:
        str: Its absolute path, of none the current folder's.
    """
    from lgm_pose_plugin.apis.sources import common_folder, is_url
    return common_folder([
        source.path for source in sources
        if source.kind == 'image' and not is_url(source.path)
    ] or [os.curdir])


def open_image_ids(args: argparse.Namespace, sources: Sequence[Any]) -> Any:
    """Open the ids that results in COCO's formats need.

    Args:
        args (argparse.Namespace): The parsed arguments.
        sources (Sequence[Source]): What is read.

    Returns:
        ImageIds: The ids.

    Raises:
        ValueError: If there are no pictures.
    """
    from lgm_pose_plugin.apis.coco_files import ImageIds
    images = [source.path for source in sources if source.kind == 'image']
    if not images:
        raise ValueError('--coco-results and --coco-annotations are for '
                         'pictures, and there are none')
    told = args.ann_file or (args.boxes if args.boxes != 'whole' else '')
    return ImageIds.from_file(told) if told else ImageIds.from_names(images)
