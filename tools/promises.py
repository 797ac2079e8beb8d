#!/usr/bin/env python
"""Write into docs/promises.md which tests hold each promise.

A row of the page begins with the promise's id. A test names the ids of the
promises that it holds: ``@pytest.mark.promise('id', ...)``.
"""
import argparse
import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r'^(\| <a id="([\w-]+)"></a>(.*?)) \|.*$', re.MULTILINE)


def find_tests(root):
    """Find the tests that hold promises, without importing them.

    Args:
        root (Path): Folder that holds ``tests``.

    Returns:
        dict: Names of tests by promise and by file relative to ``root``.
    """
    tests = defaultdict(lambda: defaultdict(list))
    for path in sorted((root / 'tests').rglob('test_*.py')):
        file = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            for mark in getattr(node, 'decorator_list', ()):
                if isinstance(mark, ast.Call) and getattr(
                        mark.func, 'attr', None) == 'promise':
                    for promise in map(ast.literal_eval, mark.args):
                        tests[promise][file].append(node.name)
    return tests


def fill_in(page, tests):
    """Fill in the tests of each promise.

    Args:
        page (str): Text of the page.
        tests (dict): Names of tests by promise and file.

    Returns:
        str: The page with its tests.

    Raises:
        ValueError: A test names a promise that is not on the page, or no test
            holds a promise and no command measures it.
    """
    promises = {promise: text for _, promise, text in ROW.findall(page)}
    unknown = sorted(set(tests) - set(promises))
    if unknown:
        raise ValueError(f'docs/promises.md has no row for {unknown}. Add one '
                         'or correct the marker.')
    unheld = [
        promise for promise, text in promises.items()
        if promise not in tests and 'measured by `' not in text.lower()
    ]
    if unheld:
        raise ValueError(f'No test holds {unheld}. Mark one with '
                         "@pytest.mark.promise('id') or remove the row.")

    def with_tests(row):
        files = [
            f'[{file.split("/")[-1]}](../{file}): ' +
            ', '.join(f'`{name}`' for name in names)
            for file, names in tests.get(row[2], {}).items()
        ]
        return f'{row[1]} | {"<br>".join(files) or "-"} |'

    return ROW.sub(with_tests, page)


def main():
    """Write the page, or with ``--check`` compare it alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--check',
        action='store_true',
        help='fail if the page is not up to date')
    args = parser.parse_args()
    path = ROOT / 'docs' / 'promises.md'
    page = path.read_text()
    try:
        filled = fill_in(page, find_tests(ROOT))
    except ValueError as error:
        sys.exit(str(error))
    if filled == page:
        return
    if args.check:
        sys.exit('docs/promises.md is out of date. Run tools/promises.py.')
    path.write_text(filled)


if __name__ == '__main__':
    main()
