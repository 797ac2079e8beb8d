"""The notebook docs/inference.ipynb."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('onnxruntime')
pytest.importorskip('supervision')
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def cells():
    path = ROOT / 'docs' / 'inference.ipynb'
    notebook = json.loads(path.read_text(encoding='utf-8'))
    return [one for one in notebook['cells'] if one['cell_type'] == 'code']


def test_holds_no_outputs(cells):
    assert all(not one['outputs'] and one['execution_count'] is None
               for one in cells)


@pytest.mark.e2e
@pytest.mark.promise('pose-inferencer')
def test_runs(cells, tmp_path):
    pytest.importorskip('trackers')
    script = tmp_path / 'notebook.py'
    script.write_text('\n'.join(''.join(one['source']) for one in cells))
    result = subprocess.run([sys.executable, str(script)],
                            cwd=str(tmp_path),
                            env=dict(os.environ, PYTHONPATH=str(ROOT)),
                            stdout=subprocess.PIPE,
                            universal_newlines=True,
                            check=True)
    lines = result.stdout.splitlines()
    assert sum(line.startswith('people/val2017/') for line in lines) == 4
    assert sum(' s [' in line for line in lines) == 5
    assert (tmp_path / 'out/visualizations/clip.mp4').is_file()
    frames = json.loads((tmp_path / 'out/predictions/clip.json').read_text())
    assert len(frames) == 25
