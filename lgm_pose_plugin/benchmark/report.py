"""Tables of what `lgm-pose benchmark` measured."""
from typing import Any, Mapping, Sequence

COLUMNS = {
    'network': '{network}',
    'backend': '{backend}',
    'threads': '{threads}',
    'batch': '{batch}',
    'params (M)': '{params_m:.3f}',
    'MACs (G)': '{macs_g:.3f}',
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
            multiply-adds in billions.
        row (dict): A result of
            :func:`~lgm_pose_plugin.benchmark.run.run_benchmark`, as a
            dictionary.

    Returns:
        str: The text, empty if a figure is missing.
    """
    try:
        return template.format(
            **row, params_m=row['params'] / 1e6, macs_g=row['macs'] / 1e9)
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


def environment_list(environment: Mapping[str, Any]) -> str:
    """Write what the figures depend on.

    Args:
        environment (dict): The environment of a run.

    Returns:
        str: A list in Markdown.
    """
    return ''.join(f'- {key}: {value}\n' for key, value in environment.items())
