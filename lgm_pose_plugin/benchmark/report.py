"""Tables and a plot of what `lgm-pose benchmark` measured."""
from typing import Any, Dict, Mapping, Sequence

from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from lgm_pose_plugin.visualization.figures import save_picture

LABEL_SPACING = .035  # of the axes' width
AP = '{published_ap:.1f}{mark}'
COLUMNS = {
    'network': '{network}',
    'backend': '{backend}',
    'threads': '{threads}',
    'batch': '{batch}',
    'params (M)': '{params_m:.3f}',
    'MACs (G)': '{macs_g:.3f}',
    'COCO AP': AP,
    'median (ms)': '{median_ms:.1f}',
    'p10-p90 (ms)': '{p10_ms:.1f}-{p90_ms:.1f}',
    'ratio': '{ratio:.2f}',
    'images/s': '{images_per_second:.1f}',
    'of matmul (%)': '{matmul_share:.0%}',
    'memory (MB)': '{peak_memory_mb:.0f}',
}


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


def format_cell(template: str, row: Mapping[str, Any]) -> str:
    """Write figures of a result.

    Args:
        template (str): As for ``str.format``, with the result's names.
            ``params_m`` and ``macs_g`` stand for parameters in millions and
            multiply-adds in billions, ``mark`` for the mark of a paper's AP.
        row (dict): A result of
            :func:`~lgm_pose_plugin.benchmark.run.run_benchmark`, as a
            dictionary.

    Returns:
        str: The text, empty if a figure is missing.
    """
    try:
        return template.format(
            **row,
            params_m=row['params'] / 1e6,
            macs_g=row['macs'] / 1e9,
            mark=' (paper)' if row['ap_source'] == 'paper' else '')
    except TypeError:  # a figure is None
        return ''


def full_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write all figures of a run.

    Args:
        rows (Sequence[dict]): Results, see :func:`format_cell`.

    Returns:
        str: A table in Markdown, and below it why some rows are empty.
    """
    lines, notes = [], ''
    for row in rows:
        cells = {
            name: format_cell(template, row)
            for name, template in COLUMNS.items()
        }
        if row['error']:
            cells['median (ms)'] = 'failed'
            notes += ('- {network}, {backend}, threads {threads}, batch '
                      '{batch}: {error}\n'.format(**row))
        lines.append(list(cells.values()))
    return (markdown_table(list(COLUMNS), lines, left=2) +
            (f'\nFailed:\n\n{notes}' if notes else ''))


def pipeline_table(rows: Sequence[Mapping[str, Any]]) -> str:
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
    cells = ('{network}', '{backend}', '{people}',
             *(f'{{stages_ms[{stage}]:.2f}}'
               for stage in stages), '{total_ms:.2f}',
             '{p10_ms:.2f}-{p90_ms:.2f}', '{around_share:.1%}')
    return markdown_table(
        header, [[cell.format(**row) for cell in cells] for row in rows],
        left=2)


def environment_list(environment: Mapping[str, Any]) -> str:
    """Write what the figures depend on.

    Args:
        environment (dict): The environment of a run.

    Returns:
        str: A list in Markdown.
    """
    return ''.join(f'- {key}: {value}\n' for key, value in environment.items())


def draw(rows: Sequence[Mapping[str, Any]], path: str) -> None:
    """Plot latency against multiply-adds, and against AP where it is known.

    The results with the first number of threads and batch are drawn.

    Args:
        rows (Sequence[dict]): Results, see :func:`format_cell`.
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
    left.set(xlabel='multiply-adds (G)', ylabel='median latency (ms)')
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
