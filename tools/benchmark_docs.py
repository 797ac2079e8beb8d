"""Time everything docs/benchmark.md shows and write its figures.

Runs `lgm-pose benchmark` several times and tools/frame_benchmark.py once,
keeps the JSON of each run in a folder, puts all of it into a file beside the
document, draws the plot, and replaces what stands between the document's
markers `<!-- benchmark:NAME -->` and `<!-- /benchmark:NAME -->`; the text
around them stays.
"""
import argparse
import json
import os
import os.path as osp
import re
import subprocess
import sys
from glob import glob
from typing import (Any, Dict, List, Mapping, NamedTuple, Optional, Sequence,
                    Tuple)

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from mmengine.fileio import load

from lgm_pose_plugin.benchmark.networks import NETWORKS
from lgm_pose_plugin.benchmark.report import (environment_list, format_cell,
                                              full_table, markdown_table)
from lgm_pose_plugin.models.builder import load_config
from lgm_pose_plugin.utils.files import check_out_file, replacing, write_json
from lgm_pose_plugin.visualization.figures import save_picture

LABEL_SPACING = .035  # of the axes' width
PLOT = 'images/benchmark.png'  # beside the document
ENVIRONMENT = ('CPU', 'python', 'torch', 'mmpose', 'mmcv', 'mmengine')
COMPARED = [
    'lgm-pose', 'lgm-pose-fast', 'lgm-pose-fast-simcc', 'lgm-pose-relu',
    'lgm-pose-hswish', 'mobilenetv2', 'litehrnet-18', 'rtmpose-t', 'rtmpose-s'
]
EXPORTED = ['onnxruntime', 'openvino', 'onnxruntime-int8', 'openvino-int8']
BENCHMARK = ['-m', 'lgm_pose_plugin', 'benchmark']
# Arguments of Python and the number of rounds; together they take about an
# hour on two shared cores.
RUNS = {
    'compared': ([*BENCHMARK, *COMPARED, '--backends', 'eager',
                  *EXPORTED], 200),
    # Without ONNX Runtime's int8: quantizing takes longer than timing.
    'all': ([
        *BENCHMARK, *NETWORKS, '--backends', 'eager', 'onnxruntime',
        'openvino', 'openvino-int8'
    ], 20),
    'threads': ([
        *BENCHMARK, 'lgm-pose', 'mobilenetv2', 'rtmpose-t', '--backends',
        'onnxruntime', 'openvino', '--threads', '1', '2', '--batch', '1', '8'
    ], 30),
    'compile':
    ([*BENCHMARK, 'lgm-pose', 'rtmpose-t', '--backends', 'eager',
      'compile'], 200),
    'pipeline': (['tools/frame_benchmark.py', 'lgm-pose', 'rtmpose-t'], 60),
}


class Speedup(NamedTuple):
    """A target: so many times as fast as something else.

    Attributes:
        faster (str): Network and backend that the target is about; ``*``
            stands for ``onnxruntime`` and for ``openvino``.
        slower (str): Those it is compared with.
        wanted (float): The least ratio of their times.
    """
    faster: str
    slower: str
    wanted: float


SPEEDUPS = (
    Speedup('lgm-pose eager', 'mobilenetv2 eager', 1.5),
    Speedup('lgm-pose eager', 'litehrnet-18 eager', 1.6),
    Speedup('lgm-pose *', 'lgm-pose eager', 2.5),
    Speedup('lgm-pose *', 'mobilenetv2 *', 2.),
    Speedup('lgm-pose *', 'litehrnet-18 *', 1.2),
    Speedup('lgm-pose *-int8', 'lgm-pose *', 1.7),
    Speedup('lgm-pose *-int8', 'rtmpose-t *', 1.),
    Speedup('lgm-pose-fast *', 'rtmpose-t *', 1.),
    Speedup('lgm-pose-fast *-int8', 'rtmpose-t *-int8', 1.),
)
MOST_AROUND = .15  # of the time, for a frame with four people


def targets_table(rows: Sequence[Dict[str, Any]],
                  frames: Sequence[Dict[str, Any]]) -> str:
    """Compare a run with the targets.

    Args:
        rows (Sequence[dict]): Results of ``lgm-pose benchmark`` with one
            thread and batch 1.
        frames (Sequence[dict]): Results of ``tools/frame_benchmark.py``.

    Returns:
        str: A table in Markdown, a row for each target and runtime.
    """
    medians = {
        (row['network'], row['backend']): row['median_ms']
        for row in rows
    }
    lines: List[List[str]] = []
    for target in SPEEDUPS:
        runtimes = ['onnxruntime', 'openvino'
                    ] if '*' in target.faster else ['']
        for runtime in runtimes:
            faster, slower = (
                name.replace('*', runtime)
                for name in (target.faster, target.slower))
            times = [
                medians.get(tuple(name.split())) for name in (slower, faster)
            ]
            ratio = times[0] / times[1] if all(times) else None
            lines.append([
                f'{faster}, times as fast as {slower}',
                f'at least {target.wanted:.2f}',
                '' if ratio is None else f'{ratio:.2f}',
                _verdict(None if ratio is None else ratio >= target.wanted)
            ])
    for frame in frames:
        if frame['network'] == 'lgm-pose' and frame['people'] == 4:
            share = frame['around_share']
            lines.append([
                f'lgm-pose {frame["backend"]}, four people, share of crop, '
                'normalization and decoding', f'at most {MOST_AROUND:.0%}',
                f'{share:.1%}',
                _verdict(share <= MOST_AROUND)
            ])
    return markdown_table(('target', 'wanted', 'measured', ''), lines, left=1)


def _verdict(met: Optional[bool]) -> str:
    """What to say of a target."""
    return {None: 'not measured', True: 'met', False: '**missed**'}[met]


def networks_table() -> str:
    """List the short names.

    Returns:
        str: A table in Markdown.
    """
    lines = [[f'`{name}`',
              osp.basename(load_config(name).filename)] for name in NETWORKS]
    return markdown_table(('name', 'config'), lines, left=2)


def sections(reports: Dict[str, Dict[str, Any]]) -> Dict[str, str]:
    """Write what goes between the markers.

    Args:
        reports (dict[str, dict]): The JSON of each of ``RUNS``.

    Returns:
        dict[str, str]: Markdown by the name of the marker.
    """
    tables = dict(
        compared=summary_table, all=summary_table, pipeline=frames_table)
    texts = {
        name: tables.get(name, full_table)(report['results'])
        for name, report in reports.items()
    }
    environment = reports['all']['environment']
    return dict(
        texts,
        targets=targets_table(reports['compared']['results'],
                              reports['pipeline']['results']),
        networks=networks_table(),
        environment=environment_list(
            {key: environment[key]
             for key in ENVIRONMENT}))


def published_ap(name: str,
                 input_size: Sequence[int]) -> Tuple[Optional[float], str]:
    """Look up a network's COCO AP in the metafile beside its config.

    Args:
        name (str): One of ``NETWORKS``.
        input_size (Sequence[int]): Height and width of the input; an AP of
            another size does not count.

    Returns:
        tuple[float | None, str]: AP in percent on COCO val2017, ``None`` if
        nothing is published, and where it stands: ``'metafile'`` for one of
        published weights, ``'paper'`` for a paper's that nobody reproduced.
    """
    cfg = load_config(name)
    if list(cfg.codec.input_size) != list(input_size)[::-1]:
        return None, ''
    for file in glob(osp.join(osp.dirname(cfg.filename), '*.yml')):
        for model in load(file)['Models']:
            if osp.basename(model['Config']) != osp.basename(cfg.filename):
                continue
            for result in model.get('Results') or []:
                if result['Dataset'] == 'COCO' and 'AP' in result['Metrics']:
                    return round(100 * result['Metrics']['AP'], 2), 'metafile'
            if 'Paper COCO AP' in model['Metadata']:
                return model['Metadata']['Paper COCO AP'], 'paper'
    return None, ''


def summary_table(rows: Sequence[Dict[str, Any]]) -> str:
    """Write the medians of a run, a line for each network.

    Args:
        rows (Sequence[dict]): Results with the same threads and batch, and
            their ``published_ap`` and ``ap_source``.

    Returns:
        str: A table in Markdown; every backend has a column with the median
        in milliseconds and the ratio in brackets.
    """
    backends = list(dict.fromkeys(row['backend'] for row in rows))
    lines: Dict[str, List[str]] = {}
    for row in rows:
        mark = ' (paper)' if row['ap_source'] == 'paper' else ''
        templates = ('{network}', '{params_m:.2f}', '{macs_g:.2f}',
                     '{published_ap:.1f}' + mark)
        line = lines.setdefault(row['network'], [
            *(format_cell(template, row)
              for template in templates), *['failed'] * len(backends)
        ])
        if not row['error']:
            line[len(templates) + backends.index(row['backend'])] = (
                format_cell('{median_ms:.1f} ({ratio:.2f})', row)
                or format_cell('{median_ms:.1f}', row))
    return markdown_table(
        ('network', 'params (M)', 'MACs (G)', 'COCO AP', *backends),
        list(lines.values()),
        left=1)


def frames_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write where the time of a frame goes.

    Args:
        rows (Sequence[dict]): Results of ``tools/frame_benchmark.py``.

    Returns:
        str: A table in Markdown.
    """
    stages = list(rows[0]['stages_ms'])
    header = ('network', 'backend', 'people', *stages, 'keypoints total',
              'p10-p90', 'around the network (%)')
    cells = ('{network}', '{backend}', '{people}',
             *(f'{{stages_ms[{stage}]:.2f}}'
               for stage in stages), '{total_ms:.2f}',
             '{p10_ms:.2f}-{p90_ms:.2f}', '{around_share:.1%}')
    return markdown_table(
        header, [[cell.format(**row) for cell in cells] for row in rows],
        left=2)


def draw(rows: Sequence[Mapping[str, Any]], path: str) -> None:
    """Plot latency against multiply-adds, and against AP where it is known.

    Args:
        rows (Sequence[dict]): See :func:`summary_table`.
        path (str): The picture to write.

    Raises:
        ValueError: If it cannot be written.
    """
    rows = [row for row in rows if not row['error']]
    figure = Figure((12, 6), layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    left.set(xlabel='multiply-adds (G)', ylabel='median latency (ms)')
    _logarithmic(left.xaxis)
    _scatter(left, rows, [row['macs'] / 1e9 for row in rows])
    left.legend(fontsize=8, loc='lower right')
    known = [row for row in rows if row['published_ap'] is not None]
    right.set_xlabel("published COCO AP (*: a paper's, not reproduced)")
    _scatter(right, known, [row['published_ap'] for row in known])
    figure.suptitle(
        '{device}, threads {threads}, batch {batch}, {0}x{1}, no flip '
        'test'.format(*rows[0]['input_size'], **rows[0]),
        fontsize=10)
    save_picture(figure, path)


def _scatter(axes: Any, rows: Sequence[Mapping[str, Any]],
             x: Sequence[float]) -> None:
    """Draw results; those of a network stand above each other."""
    styles = style.library['tableau-colorblind10']['axes.prop_cycle']()
    names: Dict[str, float] = {}
    for backend, look, marker in zip(
            dict.fromkeys(row['backend'] for row in rows), styles, 'os^vDPX'):
        chosen = [(value, row) for value, row in zip(x, rows)
                  if row['backend'] == backend]
        axes.scatter(
            *zip(*((value, row['median_ms']) for value, row in chosen)),
            color=look['color'],
            marker=marker,
            label=backend,
            zorder=3)
        for value, row in chosen:
            star = '*' if row['ap_source'] == 'paper' else ''
            names[row['network'] + star] = value
    _logarithmic(axes.yaxis)
    axes.grid(linewidth=.3)
    to_axes = axes.transData - axes.transAxes
    # Names above the axes, moved aside where they would overlap.
    place = 0.
    for name, value in sorted(names.items(), key=lambda item: item[1]):
        exact = to_axes.transform((value, rows[0]['median_ms']))[0]
        place = max(exact, place + LABEL_SPACING)
        axes.annotate(
            name, (value, 1),
            xytext=(place, 1.04),
            xycoords=axes.get_xaxis_transform(),
            textcoords='axes fraction',
            rotation=90,
            ha='center',
            va='bottom',
            fontsize=8,
            arrowprops=dict(
                arrowstyle='-', linewidth=.5, shrinkB=0, relpos=(.5, 0)))
        axes.axvline(value, linewidth=.5, color='.7', zorder=1)


def _logarithmic(axis: Any) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2, 5, 10 ..."""
    axis.axes.set(**{f'{axis.axis_name}scale': 'log'})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter('%g'))
    axis.set_minor_formatter(NullFormatter())


def replace_sections(document: str, texts: Dict[str, str]) -> str:
    """Replace what stands between the markers of a document.

    Args:
        document (str): The document.
        texts (dict[str, str]): What to put there by the marker's name.

    Returns:
        str: The new document.

    Raises:
        ValueError: If it has not exactly these markers.
    """
    pattern = r'(<!-- benchmark:(\w+) -->\n).*?(<!-- /benchmark:\2 -->)'
    found = sorted(match[2]
                   for match in re.finditer(pattern, document, re.DOTALL))
    if found != sorted(texts):
        raise ValueError(f'the document has the markers {", ".join(found)}, '
                         f'there is text for {", ".join(sorted(texts))}')
    return re.sub(
        pattern,
        lambda match: match[1] + '\n' + texts[match[2]] + '\n' + match[3],
        document,
        flags=re.DOTALL)


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
    parser.add_argument(
        '--document',
        default='docs/benchmark.md',
        help='(default: %(default)s)')
    parser.add_argument(
        '--folder',
        default='work_dirs/benchmark',
        help="of the runs' JSON (default: %(default)s)")
    parser.add_argument(
        '--rounds', type=int, help="in place of each run's own, for a trial")
    parser.add_argument(
        '--write-only',
        action='store_true',
        help='time nothing, take the JSON that is there')
    args = parser.parse_args(argv)
    check_out_file(args.document)
    os.makedirs(args.folder, exist_ok=True)
    reports = {}
    for name, (arguments, rounds) in RUNS.items():
        file = osp.join(args.folder, f'{name}.json')
        if not args.write_only:
            command = [
                sys.executable, *arguments, '--rounds',
                str(args.rounds or rounds), '--json', file
            ]
            print(*command, flush=True)
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        with open(file) as opened:
            reports[name] = json.load(opened)
    for name in ('compared', 'all'):
        for row in reports[name]['results']:
            row['published_ap'], row['ap_source'] = published_ap(
                row['network'], row['input_size'])
    write_json(osp.splitext(args.document)[0] + '.json', reports, indent=1)
    draw(reports['all']['results'], osp.join(osp.dirname(args.document), PLOT))
    with open(args.document) as opened:
        document = replace_sections(opened.read(), sections(reports))
    with replacing(args.document) as temporary, open(temporary, 'w') as opened:
        opened.write(document)
    return 0


if __name__ == '__main__':
    sys.exit(main())
