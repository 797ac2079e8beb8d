"""Tables and a plot of what `lgm-pose benchmark` measured."""
from typing import Any, Dict, List, Sequence

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from lgm_pose_plugin.visualization.figures import save_picture

LABEL_SPACING = .035  # of the axes' width


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]],
                   left: int) -> str:
    """Write a table.

    Args:
        header (Sequence[str]): Names of the columns.
        rows (Sequence[Sequence[str]]): The cells.
        left (int): Number of columns aligned to the left; others are numbers.

    Returns:
        str: The lines, each with an end.
    """
    rules = ['---' if i < left else '---:' for i in range(len(header))]
    return ''.join(f'| {" | ".join(cells)} |\n'
                   for cells in (header, rules, *rows))


def format_ap(row: Dict[str, Any]) -> str:
    """Write the published AP of a result, with a mark if it is a paper's.

    Args:
        row (dict): A result, see :func:`full_table`.

    Returns:
        str: As ``'68.2'`` or ``'68.6 (paper)'``.
    """
    if row['published_ap'] is None:
        return ''
    mark = ' (paper)' if row['ap_source'] == 'paper' else ''
    return f'{row["published_ap"]:.1f}{mark}'


def full_table(rows: Sequence[Dict[str, Any]]) -> str:
    """Write all figures of a run.

    Args:
        rows (Sequence[dict]): Results of
            :func:`~lgm_pose_plugin.benchmark.run.run_benchmark`, as
            dictionaries.

    Returns:
        str: A table in Markdown, and below it why some rows are empty.
    """
    header = ('network', 'backend', 'threads', 'batch', 'params (M)',
              'MACs (G)', 'COCO AP', 'median (ms)', 'p10-p90 (ms)', 'ratio',
              'images/s', 'of matmul (%)', 'memory (MB)')
    lines, notes = [], []
    for row in rows:
        cells = [
            row['network'], row['backend'],
            str(row['threads']),
            str(row['batch']), f'{row["params"] / 1e6:.3f}',
            f'{row["macs"] / 1e9:.3f}',
            format_ap(row)
        ]
        if row['error']:
            notes.append('{network}, {backend}, threads {threads}, batch '
                         '{batch}: {error}'.format(**row))
            lines.append(cells + ['failed'] + [''] * 5)
            continue
        lines.append(cells + [
            f'{row["median_ms"]:.1f}',
            f'{row["p10_ms"]:.1f}-{row["p90_ms"]:.1f}',
            _optional(row['ratio'], '.2f'), f'{row["images_per_second"]:.1f}',
            _optional(row['matmul_share'], '.0%'),
            _optional(row['peak_memory_mb'], '.0f')
        ])
    text = markdown_table(header, lines, left=2)
    if notes:
        text += '\nFailed:\n\n' + ''.join(f'- {note}\n' for note in notes)
    return text


def _optional(value: Any, spec: str) -> str:
    """A figure that there may not be."""
    return '' if value is None else format(value, spec)


def summary_table(rows: Sequence[Dict[str, Any]]) -> str:
    """Write the medians of a run, a line for each network.

    Args:
        rows (Sequence[dict]): Results with the same threads and batch, see
            :func:`full_table`.

    Returns:
        str: A table in Markdown; every backend has a column with the median
        in milliseconds and the ratio in brackets.
    """
    backends = list(dict.fromkeys(row['backend'] for row in rows))
    lines: Dict[str, List[str]] = {}
    for row in rows:
        line = lines.setdefault(row['network'], [
            row['network'], f'{row["params"] / 1e6:.2f}',
            f'{row["macs"] / 1e9:.2f}',
            format_ap(row)
        ] + ['failed'] * len(backends))
        if not row['error']:
            line[4 + backends.index(row['backend'])] = (
                f'{row["median_ms"]:.1f} ({_optional(row["ratio"], ".2f")})')
    return markdown_table(
        ('network', 'params (M)', 'MACs (G)', 'COCO AP', *backends),
        list(lines.values()),
        left=1)


def pipeline_table(rows: Sequence[Dict[str, Any]]) -> str:
    """Write where the time of a frame goes.

    Args:
        rows (Sequence[dict]): Results of
            :func:`~lgm_pose_plugin.benchmark.pipeline.run_pipeline`, as
            dictionaries.

    Returns:
        str: A table in Markdown.
    """
    stages = list(rows[0]['stages_ms'])
    header = ('network', 'backend', 'people', *stages, 'keypoints total',
              'p10-p90', 'around the network (%)')
    lines = [[
        row['network'], row['backend'],
        str(row['people']), *(f'{row["stages_ms"][stage]:.2f}'
                              for stage in stages), f'{row["total_ms"]:.2f}',
        f'{row["p10_ms"]:.2f}-{row["p90_ms"]:.2f}',
        f'{row["around_share"]:.1%}'
    ] for row in rows]
    return markdown_table(header, lines, left=2)


def environment_list(environment: Dict[str, Any]) -> str:
    """Write what the figures depend on.

    Args:
        environment (dict): The environment of a run.

    Returns:
        str: A list in Markdown.
    """
    return ''.join(f'- {key}: {value}\n' for key, value in environment.items())


def draw(rows: Sequence[Dict[str, Any]], path: str) -> None:
    """Plot latency against multiply-adds, and against AP where it is known.

    The results with the first number of threads and batch are drawn.

    Args:
        rows (Sequence[dict]): See :func:`full_table`.
        path (str): The picture to write.

    Raises:
        ValueError: If it cannot be written, or there is nothing to draw.
    """
    first = rows[0]
    rows = [
        row for row in rows
        if not row['error'] and all(row[key] == first[key]
                                    for key in ('threads', 'batch'))
    ]
    if not rows:
        raise ValueError(f'nothing was measured, so there is no plot {path}')
    figure = Figure((12, 6), layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_ylabel('median latency (ms)')
    left.set_xlabel('multiply-adds (G)')
    _logarithmic(left.xaxis)
    _scatter(left, rows, [row['macs'] / 1e9 for row in rows])
    left.legend(fontsize=8, loc='lower right')
    known = [row for row in rows if row['published_ap'] is not None]
    right.set_xlabel("published COCO AP (*: a paper's, not reproduced)")
    _scatter(right, known, [row['published_ap'] for row in known])
    figure.suptitle(
        '{device}, threads {threads}, batch {batch}, {0}x{1}, no flip '
        'test'.format(*first['input_size'], **first),
        fontsize=10)
    save_picture(figure, path)


def _scatter(axes: Any, rows: Sequence[Dict[str, Any]],
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
