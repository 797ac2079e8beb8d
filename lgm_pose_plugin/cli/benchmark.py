"""time networks against each other on this CPU

What is timed is the plain network (backbone, neck and head, random weights, no
flip test, no normalization, no decoding), as float32 or int8. Each combination
of network, backend, threads and batch has a process of its own; every round
runs each of them twice, in an order of its own, and times the second run.
Nothing is downloaded. Compare the ratios: absolute times are of one machine
and its load. On a shared machine use one thread.

example: lgm-pose benchmark lgm-pose rtmpose-t --backends eager onnxruntime
    openvino --json latency.json
"""
import argparse
import json
import shlex
import sys
from contextlib import redirect_stdout

from lgm_pose_plugin.benchmark import BACKENDS
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.files import check_out_file, write_json
from .options import add_file, add_format, add_number, size


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
        '(default: all short names)')
    parser.add_argument(
        '--backends',
        nargs='+',
        choices=BACKENDS,
        default=['eager'],
        metavar='BACKEND',
        help=f'{", ".join(BACKENDS)} (default: eager)')
    for name, help in (('--threads', 'threads of the runtime (default: 1)'),
                       ('--batch', 'images per forward pass (default: 1)')):
        parser.add_argument(
            name, nargs='+', type=int, default=[1], metavar='N', help=help)
    add_number(parser, '--rounds', 200, 'forward passes of each')
    parser.add_argument(
        '--input-size',
        type=size,
        default=(256, 192),
        metavar='HxW',
        help='input of all networks, whatever the configs say '
        '(default: 256x192)')
    parser.add_argument(
        '--baseline',
        nargs='+',
        default=[],
        metavar=('CONFIG', 'BACKEND'),
        help='what the ratios refer to (default: the first ones)')
    add_format(parser, 'markdown', 'json')
    add_file(parser, '--json', 'a file to write the JSON to as well')


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
    set_up_mmpose()
    from lgm_pose_plugin.benchmark.report import environment_list, full_table
    from lgm_pose_plugin.benchmark.run import run_benchmark
    from lgm_pose_plugin.model_index import NETWORKS
    if args.json:
        check_out_file(args.json)
    # Exporters print.
    with redirect_stdout(sys.stderr):
        report = run_benchmark(
            args.configs or list(NETWORKS),
            args.backends,
            input_size=args.input_size,
            threads=args.threads,
            batches=args.batch,
            rounds=args.rounds,
            baseline=args.baseline)
    environment = report['environment'] = dict(
        command=shlex.join(['lgm-pose', *sys.argv[1:]]),
        **report['environment'])
    if args.json:
        write_json(args.json, report, indent=2)
    if args.format == 'json':
        print(json.dumps(report, indent=2))
    else:
        print(full_table(report['results']))
        print(environment_list(environment), end='')
        if environment['busy']:
            print('\nWARNING: other processes were busy at the start (see the '
                  'load average). The times say little; only the ratios do.')
    return int(all(row['error'] for row in report['results']))
