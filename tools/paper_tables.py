"""Measure the tables of LGM-Pose's and LAPX's papers anew.

Times every network of the tables that has a public definition, with random
weights and one thread, and writes docs/paper_tables.md: our figures beside the
papers', speeds as ratios to the papers' own network, since machines differ.
Networks of one size are timed in one interleaved run with PyTorch, and in one
with the exported files. The JSON beside the page keeps all figures; sizes that
are not timed again stay as they are there.

A network is added by a row of `TABLES`. Its config, as `lgm-pose benchmark`
takes it, is enough; without one, the row shows the paper's figures and the
note.
"""
import argparse
import json
import os.path as osp
import subprocess
import sys
import tempfile
from typing import (Any, Dict, List, Mapping, NamedTuple, Optional, Sequence,
                    Tuple)

import torch
from benchmark_docs import BENCHMARK, ENVIRONMENT, replace_sections
from gpu_networks import INPUT_SIZE, time_table
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from lgm_pose_plugin.benchmark.report import environment_list, markdown_table
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.files import check_out_file, replacing, write_json
from lgm_pose_plugin.visualization.figures import save_picture

DOCUMENT = osp.join(
    osp.dirname(osp.dirname(osp.abspath(__file__))), 'docs/paper_tables.md')
PLOT = 'images/paper_tables.svg'  # beside the document
RUNS = (('eager', ), ('onnxruntime', 'openvino'))
BACKENDS = {
    'eager': 'PyTorch',
    'onnxruntime': 'ONNX Runtime',
    'openvino': 'OpenVINO',
    'gpu': 'GPU'
}
Report = Dict[str, Dict[str, Any]]


class Row(NamedTuple):
    """A row of a paper's table.

    Attributes:
        name (str): Name of the network.
        network (str): See
            :func:`~lgm_pose_plugin.models.builder.load_config`; empty if the
            network cannot be built.
        params (str): Parameters in millions, as its own paper or the table
            prints them.
        macs (str): Multiply-adds in billions, as printed.
        accuracy (float, optional): COCO AP, or PCKh@0.5 on MPII.
        cpu (float, optional): The paper's images per second on a CPU.
        gpu (float, optional): The same on a GPU.
        memory (float, optional): The paper's megabytes.
        note (str): Why there are no figures of ours, or where a figure is
            from.
    """
    name: str
    network: str = ''
    params: str = ''
    macs: str = ''
    accuracy: Optional[float] = None
    cpu: Optional[float] = None
    gpu: Optional[float] = None
    memory: Optional[float] = None
    note: str = ''


class Table(NamedTuple):
    """A paper's table.

    Attributes:
        input_size (tuple[int, int]): Height and width.
        metric (str): What ``accuracy`` of the rows is.
        rows (list[Row]): The first is what ratios refer to.
    """
    input_size: Tuple[int, int]
    metric: str
    rows: List[Row]


_NOT_PUBLIC = 'we know of no public definition'
_HEATMAP = 'lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/'
_OURS = _HEATMAP + 'mpii/td-hm_lgm-pose_1xb32-260e_mpii-256x256.py'
_ABLATION = _HEATMAP + 'ablation/td-hm_lgm-pose-{}_1xb32-260e_mpii-256x256.py'
TABLES = {
    'lgm_coco':
    Table((256, 192), 'COCO AP', [
        Row('LGM-Pose', 'lgm-pose', '1.1', '0.6', 68.6, 33.1, 80.1),
        Row('MobileNetV2', 'mobilenetv2', '', '1.5', 64.6, 24.5, 74.0),
        Row('ShuffleNetV2', 'shufflenetv2', '', '1.3', 59.9, 20.3, 71.2),
        Row('Lite-HRNet-18', 'litehrnet-18', '1.1', '0.2052', 64.8, 7.4, 27.2),
        Row('Lite-HRNet-30', 'litehrnet-30', '1.8', '0.3192', 67.2, 4.3, 16.2),
        Row('Dite-HRNet-18', 'ditehrnet-18', '1.1', '0.2098', 65.9, 5.5, 9.4),
        Row('Small HRNet', 'small-hrnet-w16', '1.3', '0.54', 55.2, 7.9, 28.4),
        Row('SimpleBaseline-50', 'simplebaseline-50', '34.0', '8.9', 70.4, 7.8,
            26.2),
        Row('HRNet-W32', 'hrnet-w32', '28.5', '7.1', 74.4, 6.6, 22.1),
        Row('TokenPose-B', 'td-hm_tokenpose-b_8xb64-210e_coco-256x192', '13.5',
            '5.7', 74.7, 4.5, 19.4),
        Row('CPN-50', 'td-hm_cpn50_8xb64-210e_coco-256x192', '27.0', '6.20',
            69.4),
        Row('MSFNet', note=_NOT_PUBLIC),
        Row('EDite-HRNet', note=_NOT_PUBLIC),
        Row('LMFormer-B',
            accuracy=65.8,
            note=f'{_NOT_PUBLIC}; AP of its '
            '[abstract](https://doi.org/10.1016/j.neucom.2024.127884)'),
    ]),
    'lgm_coco_384':
    Table((384, 288), 'COCO AP', [
        Row('LGM-Pose', 'td-hm_lgm-pose_1xb32-260e_coco-384x288', '1.2', '1.5',
            71.0, 24.5, 43.2),
        Row('MobileNetV2', 'mobilenetv2', cpu=21.7, gpu=72.4),
        Row('ShuffleNetV2', 'shufflenetv2', cpu=19.9, gpu=70.2),
        Row('Lite-HRNet-18', 'litehrnet-18', cpu=6.7, gpu=27.2),
    ]),
    'lgm_blocks':
    Table((256, 256), 'PCKh@0.5', [
        Row('MobileViM', _OURS, '1.1', '0.90', 88.4, 24.4, 79.9),
        Row('MobileViT', _ABLATION.format('mobilevit'), '2.5', '1.4', 87.9,
            20.1, 69.4),
    ]),
    'lgm_fusion':
    Table((256, 256), 'PCKh@0.5', [
        Row('SFusion', _OURS, '1.1', '0.90', 88.4, 24.5, 79.9),
        Row('none', _ABLATION.format('fusion-none'), '0.8', '0.7', 86.4, 26.3,
            84.3),
        Row('3x3 convolution', _ABLATION.format('fusion-conv'), '2.1', '1.5',
            88.6, 24.8, 80.6),
        Row('depthwise, 1 channel', _ABLATION.format('fusion-dw1'), '1.08',
            '0.89', 88.2, 22.1, 73.4),
        Row('depthwise, 2 channels', _ABLATION.format('fusion-dw2'), '1.1',
            '0.90', 88.3, 24.2, 79.1),
    ]),
    'lapx_coco':
    Table((256, 192), 'COCO AP', [
        Row('LAPX', 'lapx', '2.30', '2.59', 69.8, 30, memory=58.0),
        Row('LAP', 'lap', '2.34', '2.78', 72.1, 16, memory=76.1),
        Row('Lite-HRNet-30', 'litehrnet-30', '1.8', '0.31', 67.2, 1.9),
        Row('HF-HRNet-18', 'hfhrnet-18', '4.6', '0.7', 69.7, 15, memory=72.6),
        Row('LPN-50',
            'td-hm_lpn50_8xb64-210e_coco-256x192',
            '2.9',
            '1.0',
            69.1,
            35,
            memory=51.5),
        Row('HRFormer-T',
            'td-hm_hrformer-t_8xb64-210e_coco-256x192',
            '2.5',
            '1.3',
            70.9,
            13,
            memory=83.8),
    ]),
}


def networks(input_size: Tuple[int, int]) -> List[str]:
    """List the networks of all tables of a size.

    Args:
        input_size (tuple[int, int]): Height and width.

    Returns:
        list[str]: Their names, each once.
    """
    return list(
        dict.fromkeys(row.network for table in TABLES.values()
                      if table.input_size == input_size for row in table.rows
                      if row.network))


def measure(input_size: Tuple[int, int], rounds: int) -> Dict[str, Any]:
    """Time the networks of a size.

    Args:
        input_size (tuple[int, int]): Height and width.
        rounds (int): Timed forward passes of each.

    Returns:
        dict: ``environment`` and ``results`` of `lgm-pose benchmark`; where
        there is a GPU also results with the backend ``'gpu'``.
    """
    names = networks(input_size)
    reports = []
    with tempfile.TemporaryDirectory(prefix='lgm-pose-tables-') as folder:
        file = osp.join(folder, 'report.json')
        for run in RUNS:
            # A process of its own: the workers import what its script imports.
            subprocess.run([
                sys.executable, *BENCHMARK, *names, '--backends', *run,
                '--input-size', '{}x{}'.format(*input_size), '--rounds',
                str(rounds), '--json', file
            ],
                           stdout=subprocess.DEVNULL,
                           check=True)
            with open(file) as opened:
                reports.append(json.load(opened))
    results = [row for report in reports for row in report['results']]
    if torch.cuda.is_available() and input_size == INPUT_SIZE:
        results += time_gpu(names)
    environment = reports[0]['environment']
    del environment['command']  # its files are gone
    return dict(environment=environment, results=results)


def time_gpu(names: Sequence[str],
             device: str = 'cuda',
             seconds: float = 60.) -> List[Dict[str, Any]]:
    """Time networks on a GPU, with batch 1.

    Args:
        names (Sequence[str]): The networks.
        device (str): Defaults to ``'cuda'``.
        seconds (float): How long to time them all. Defaults to 60.

    Returns:
        list[dict]: ``network``, ``backend``, ``median_ms`` and ``error``.
    """
    rows = [dict(network=name) for name in names]
    return [
        dict(
            network=row['network'],
            backend='gpu',
            median_ms=row.get('gpu (ms)'),
            error=row.get('error')) for row in time_table(
                rows, dict(gpu=dict(batch=1)), device, seconds, by_row=False)
    ]


def pick(report: Report, table: Table, network: str,
         backend: str) -> Dict[str, Any]:
    """Find a result.

    Args:
        report (dict): By size what :func:`measure` returns.
        table (Table): The table.
        network (str): The network.
        backend (str): The backend.

    Returns:
        dict: The result, empty if there is none or it failed.
    """
    size = '{}x{}'.format(*table.input_size)
    for row in report.get(size, {}).get('results', []):
        if (row['network'], row['backend']) == (network, backend):
            return {} if row['error'] else row
    return {}


def format_table(report: Report, table: Table) -> str:
    """Write a table, the papers' figures in brackets.

    Args:
        report (dict): By size what :func:`measure` returns.
        table (Table): The table.

    Returns:
        str: Markdown.
    """
    base = table.rows[0]
    backends = [
        backend for backend in BACKENDS if any(
            pick(report, table, row.network, backend) for row in table.rows)
    ]
    lines = []
    for row in table.rows:
        facts = pick(report, table, row.network, 'eager')
        line = [
            row.name,
            _both(facts.get('params'), 1e6, row.params),
            _both(facts.get('macs'), 1e9, row.macs),
            f'({row.accuracy})' if row.accuracy else ''
        ]
        for backend in backends:
            times = [
                pick(report, table, one.network, backend).get('median_ms')
                for one in (base, row)
            ]
            line.append(f'{times[0] / times[1]:.2f}' if all(times) else '')
        line.append(f'({row.cpu / base.cpu:.2f})' if row.cpu else '')
        if base.gpu:
            line.append(f'({row.gpu / base.gpu:.2f})' if row.gpu else '')
        exported = pick(report, table, row.network, 'onnxruntime')
        line.append(
            _both(exported.get('peak_memory_mb'), 1, row.memory or '', 0))
        lines.append([*line, row.note])
    header = [
        'network', 'params (M)', 'MACs (G)', table.metric,
        *(BACKENDS[backend] for backend in backends), "paper's CPU",
        *(["paper's GPU"] if base.gpu else []), 'memory (MB)', ''
    ]
    return markdown_table(header, lines, left=1)


def _both(value: Optional[float],
          unit: float,
          printed: Any,
          digits: int = 2) -> str:
    """Our figure, and the paper's in brackets."""
    ours = '' if value is None else f'{value / unit:.{digits}f}'
    return ' '.join([ours, f'({printed})'] if printed else [ours]).strip()


def format_times(report: Report) -> str:
    """Write the times of all sizes.

    Args:
        report (dict): By size what :func:`measure` returns.

    Returns:
        str: Markdown: medians, and in brackets the range of the middle 80 %.
    """
    lines, notes = {}, []  # type: Dict[Tuple[str, str], List[str]], List[str]
    header = [name for name in BACKENDS if name != 'gpu']
    for size, part in report.items():
        for row in part['results']:
            line = lines.setdefault(
                (row['network'], size),
                [row['network'], size] + [''] * len(header))
            if row['error']:
                notes.append('- {network}, {backend}: {error}\n'.format(**row))
            elif row['backend'] in header:
                line[2 + header.index(row['backend'])] = (
                    '{median_ms:.1f} ({p10_ms:.1f}-{p90_ms:.1f})'.format(
                        **row))
    return markdown_table(
        ('network', 'input', *(BACKENDS[name] for name in header)),
        list(lines.values()),
        left=2) + (f'\nFailed:\n\n{"".join(notes)}' if notes else '')


def pareto_front(
        points: Sequence[Tuple[float, float]]) -> List[Tuple[float, float]]:
    """Find the points that no other beats in both respects.

    Args:
        points (Sequence[tuple[float, float]]): Times and accuracies.

    Returns:
        list[tuple[float, float]]: Those than which none is both as fast and
        more accurate, or as accurate and faster; the fastest first.
    """
    front: List[Tuple[float, float]] = []
    for time, accuracy in sorted(
            points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((time, accuracy))
    return front


def draw(report: Report, path: str) -> None:
    """Plot speed against the papers' COCO AP at 256x192.

    Args:
        report (dict): By size what :func:`measure` returns.
        path (str): The picture to write.

    Raises:
        ValueError: If it cannot be written.
    """
    figure = Figure((12, 7), layout='constrained')
    tables = [
        table for table in TABLES.values() if table.input_size == (256, 192)
    ]
    axes = figure.subplots(1, len(BACKENDS) - 1, sharey=True)
    for backend, one in zip(BACKENDS, axes):
        points = {}
        for table in tables:
            for row in table.rows:
                time = pick(report, table, row.network,
                            backend).get('median_ms')
                if time and row.accuracy:
                    points[row.name] = time, row.accuracy
        front = pareto_front(list(points.values()))
        one.scatter(*zip(*points.values()), zorder=3)
        one.plot(
            *zip(*front),
            drawstyle='steps-post',
            linewidth=1,
            label='Pareto front')
        for name, point in points.items():
            side = -1 if point in front else 1  # away from its steps
            one.annotate(
                name,
                point,
                xytext=(5 * side, 0),
                textcoords='offset points',
                ha='right' if side < 0 else 'left',
                va='center',
                fontsize=7)
        one.set(
            title=BACKENDS[backend],
            xscale='log',
            xlabel='median time (ms), one thread')
        one.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        one.xaxis.set_major_formatter(ScalarFormatter())
        one.xaxis.set_minor_formatter(NullFormatter())
        one.margins(x=.4)
        one.grid(linewidth=.3)
    axes[0].set_ylabel("the papers' COCO AP (not reproduced)")
    axes[0].legend(fontsize=8, loc='lower right')
    with rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'tables'}):
        save_picture(figure, path)


def sections(report: Report) -> Dict[str, str]:
    """Write what goes between the markers of the page.

    Args:
        report (dict): By size what :func:`measure` returns.

    Returns:
        dict[str, str]: Markdown by the name of the marker.
    """
    environment: Mapping[str, Any] = next(iter(report.values()))['environment']
    rounds = {
        f'rounds at {size}': part['environment']['rounds']
        for size, part in report.items()
    }
    return dict(
        {
            name: format_table(report, table)
            for name, table in TABLES.items()
        },
        times=format_times(report),
        environment=environment_list(
            dict({key: environment[key]
                  for key in ENVIRONMENT}, **rounds)))


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Time and write.

    Args:
        argv (Sequence[str], optional): The arguments. Defaults to
            ``sys.argv[1:]``.

    Returns:
        int: 0.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [
        '{}x{}'.format(*size) for size in dict.fromkeys(
            table.input_size for table in TABLES.values())
    ]
    parser.add_argument(
        '--sizes',
        nargs='*',
        choices=sizes,
        default=sizes,
        help='sizes to time (default: all; none: write the page anew)')
    parser.add_argument(
        '--rounds', type=int, default=200, help='(default: %(default)s)')
    parser.add_argument(
        '--document', default=DOCUMENT, help='(default: docs/paper_tables.md)')
    args = parser.parse_args(argv)
    set_up_mmpose()
    file = osp.splitext(args.document)[0] + '.json'
    check_out_file(file)
    report: Report = {}
    if osp.exists(file):
        with open(file) as opened:
            report = json.load(opened)
    for size in args.sizes:
        height, width = map(int, size.split('x'))
        report[size] = measure((height, width), args.rounds)
        write_json(file, report, indent=1)
    draw(report, osp.join(osp.dirname(args.document), PLOT))
    with open(args.document) as opened:
        document = replace_sections(opened.read(), sections(report))
    with replacing(args.document) as temporary, open(temporary, 'w') as opened:
        opened.write(document)
    return 0


if __name__ == '__main__':
    sys.exit(main())
