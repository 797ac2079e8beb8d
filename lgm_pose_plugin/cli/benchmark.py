"""time networks against each other on this CPU

Without --pipeline, what is timed is the plain network (backbone, neck and
head, random weights, no flip test, no normalization, no decoding), as float32
or int8. Each combination of network, backend, threads and batch has a process
of its own; every round runs each of them twice, in an order of its own, and
times the second run. Nothing is downloaded. Compare the ratios: absolute times
are of one machine and its load. On a shared machine use one thread.

With --pipeline, whole frames are timed: decoding the image, crops, the
network, key points, drawing.

example: lgm-pose benchmark lgm-pose rtmpose-t --backends eager onnxruntime
    openvino --plot latency.png
"""
import argparse
import json
import shlex
import sys
from contextlib import redirect_stdout
from typing import Any, Dict

from lgm_pose_plugin.benchmark import BACKENDS, PIPELINE_BACKENDS
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.files import check_out_file, write_json
from .options import add_file, add_flag, add_format, add_number, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose benchmark``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    parser.add_argument(
        'configs',
        nargs='*',
        metavar='CONFIG',
        help='a short name (see docs/benchmark.md; an unknown one lists '
        'them), mmpose::body_2d_keypoint/... or the path of a top-down config '
        '(default: all short names; with --pipeline lgm-pose)')
    parser.add_argument(
        '--backends',
        nargs='+',
        choices=BACKENDS,
        metavar='BACKEND',
        help=f'{", ".join(BACKENDS)} (default: eager; with --pipeline '
        'eager, which is MMPose, onnxruntime and openvino)')
    for name, help in (('--threads', 'threads of the runtime (default: 1)'),
                       ('--batch', 'images per forward pass (default: 1)')):
        parser.add_argument(
            name, nargs='+', type=int, default=[1], metavar='N', help=help)
    add_number(parser, '--rounds', 200, 'forward passes, or frames, of each')
    parser.add_argument(
        '--input-size',
        type=size,
        metavar='HxW',
        help='input of all networks, whatever the configs say '
        "(default: 256x192; with --pipeline the config's own)")
    parser.add_argument(
        '--baseline',
        nargs='+',
        default=[],
        metavar=('CONFIG', 'BACKEND'),
        help='what the ratios refer to (default: the first ones)')
    add_flag(parser, '--pipeline',
             'time whole frames with one person and with four')
    add_format(parser, 'markdown', 'json')
    add_file(parser, '--json', 'a file to write the JSON to as well')
    add_file(parser, '--plot',
             'a picture to write: latency against multiply-adds and AP')


def run(args: argparse.Namespace) -> int:
    """Time, print the table or JSON, and write the files.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0, or 1 if nothing could be timed.

    Raises:
        FileNotFoundError: If the folder of a file to write is missing.
        ImportError: If a package that exports is missing.
        ValueError: If an argument is out of range or a file cannot be
            written.
    """
    if args.pipeline and (args.plot or args.baseline or args.input_size
                          or args.batch != [1] or len(args.threads) > 1):
        raise ValueError('--pipeline takes one number of threads and no '
                         '--batch, --baseline, --input-size or --plot')
    set_up_mmpose()
    from lgm_pose_plugin.benchmark.report import (draw, environment_list,
                                                  full_table, pipeline_table)
    from lgm_pose_plugin.visualization.figures import check_picture_path
    if args.plot:
        check_picture_path(args.plot)
    if args.json:
        check_out_file(args.json)
    # Exporters print.
    with redirect_stdout(sys.stderr):
        measured = _measure(args)
    environment = dict(
        command=shlex.join(['lgm-pose', *sys.argv[1:]]),
        **measured['environment'])
    rows = measured['results']
    report = dict(environment=environment, results=rows)
    if args.json:
        write_json(args.json, report, indent=2)
    failed = all(row.get('error') for row in rows)
    if args.plot and not failed:
        draw(rows, args.plot)
    if args.format == 'json':
        print(json.dumps(report, indent=2))
        return int(failed)
    print(pipeline_table(rows) if args.pipeline else full_table(rows))
    print(environment_list(environment), end='')
    if environment['busy']:
        print('\nWARNING: other processes were busy at the start (see the '
              'load average). The times say little; only the ratios do.')
    return int(failed)


def _measure(args: argparse.Namespace) -> Dict[str, Any]:
    """Run the benchmark that was asked for."""
    if args.pipeline:
        from lgm_pose_plugin.benchmark.pipeline import run_pipeline
        return run_pipeline(
            args.configs or ['lgm-pose'],
            args.backends or PIPELINE_BACKENDS,
            threads=args.threads[0],
            rounds=args.rounds)
    from lgm_pose_plugin.benchmark.run import run_benchmark
    from lgm_pose_plugin.model_index import NETWORKS
    return run_benchmark(
        args.configs or list(NETWORKS),
        args.backends or ['eager'],
        input_size=args.input_size or (256, 192),
        threads=args.threads,
        batches=args.batch,
        rounds=args.rounds,
        baseline=args.baseline)
