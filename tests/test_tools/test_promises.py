"""The page of promises is what the markers of the tests say."""
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(ROOT / 'tools/promises.py'))
ROWS = ('| <a id="a"></a>A file is read. | old |\n'
        '| <a id="b"></a>It is fast. Measured by `time`. | - |\n')


def test_tests_are_found_by_their_marker(tmp_path):
    (tmp_path / 'tests').mkdir()
    (tmp_path / 'tests/test_one.py').write_text(
        "@pytest.mark.promise('a', 'b')\ndef test_x():\n    pass\n\n\n"
        "@pytest.mark.e2e\n@pytest.mark.promise('a')\ndef test_y():\n"
        '    pass\n\n\ndef test_z():\n    pass\n')
    assert TOOL['find_tests'](tmp_path) == dict(
        a={'tests/test_one.py': ['test_x', 'test_y']},
        b={'tests/test_one.py': ['test_x']})


def test_rows_get_their_tests():
    page = TOOL['fill_in'](ROWS, dict(a={'tests/test_one.py': ['x', 'y']}))
    assert page == ROWS.replace(
        'old', '[test_one.py](../tests/test_one.py): '
        '`x`, `y`')
    assert TOOL['fill_in'](page,
                           dict(a={'tests/test_one.py': ['x', 'y']})) == page


@pytest.mark.parametrize('promises, message', [
    ('abc', r"no row for \['c'\]"),
    ('b', r"No test holds \['a'\]"),
])
def test_rows_and_markers_belong_together(promises, message):
    with pytest.raises(ValueError, match=message):
        TOOL['fill_in'](ROWS, dict.fromkeys(promises, {'t.py': ['x']}))
