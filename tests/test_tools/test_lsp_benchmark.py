"""tools/lsp_benchmark.py and tools/train_speed.py."""
import json
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import lsp_benchmark
    yield lsp_benchmark
    for name in ('lsp_benchmark', 'benchmark_docs'):
        sys.modules.pop(name, None)


def write_run(folder, steps):
    """What MMEngine logs of a run that came as far as the last step."""
    log = folder / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    records = [dict(loss=1., epoch=1, iter=50, step=50)] + [{
        'lsp/PCK': step / 10,
        'coco/AP': step / 20,
        'time': 1.,
        'step': step
    } for step in steps]
    log.write_text(''.join(json.dumps(one) + '\n' for one in records))


def test_result_of_a_complete_run(tool, tmp_path):
    assert tool.last_result(tmp_path) is None
    write_run(tmp_path / 'half', [2])
    assert tool.last_result(tmp_path / 'half') is None
    write_run(tmp_path / 'whole', [2, 4])
    assert tool.last_result(tmp_path / 'whole') == {
        'lsp/PCK': .4,
        'coco/AP': .2
    }


def test_every_config_has_a_row(tool):
    rows = {name for rows in tool.TABLES.values() for name, _ in rows}
    found = {tool.config_of(name) for name in rows}
    assert found == set(tool.CONFIGS.glob('*.py'))
    assert set(tool.SEEDS) <= rows


def test_table(tool):
    result = {'lsp/PCK': .3, 'coco/AP': .1}
    other = {'lsp/PCK': .4, 'coco/AP': .2}
    text = tool.table((('td-hm_lgm-pose', 'A'), ('td-hm_lgm-pose-l', 'L')),
                      {'td-hm_lgm-pose': {
                          '0': result,
                          '1': other
                      }})
    first, second = text.splitlines()[2:]
    assert first.endswith('| 35.0 | 30.0, 40.0 | 15.0 |')
    assert first.startswith('| A | `td-hm_lgm-pose_1xb8-4e_lsp-128x96` | 1.06')
    assert second.endswith('| not run |  |  |')


def test_writing_keeps_figures_of_runs_that_lie_elsewhere(
        tool, tmp_path, monkeypatch):
    kept = json.loads(tool.DOCUMENT.with_suffix('.json').read_text())
    for suffix in ('.md', '.json'):
        source = tool.DOCUMENT.with_suffix(suffix)
        (tmp_path / source.name).write_text(source.read_text())
    monkeypatch.setattr(tool, 'DOCUMENT', tmp_path / tool.DOCUMENT.name)
    # It counts every network, for seconds.
    monkeypatch.setattr(tool, 'table',
                        lambda rows, results: f'of {len(results)} runs')
    write_run(tmp_path / 'td-hm_lap' / 'seed0', [2, 4])
    assert tool.main(['--write-only', '--work-dir', str(tmp_path)]) == 0
    kept['td-hm_lap']['0'] = {'lsp/PCK': .4, 'coco/AP': .2}
    written = tmp_path / 'lsp_benchmark.json'
    assert json.loads(written.read_text()) == kept
    text = (tmp_path / 'lsp_benchmark.md').read_text()
    assert text.count(f'of {len(kept)} runs') == len(tool.TABLES)


@pytest.mark.e2e
def test_train_speed(monkeypatch, rendered_lsp, tmp_path, capsys):
    from lgm_pose_plugin.cli import main
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.chdir(tmp_path)
    import train_speed
    source = rendered_lsp(tmp_path / 'archive', 8)
    assert main([
        'convert-lsp',
        str(source),
        str(tmp_path / 'data/lsp'), '--val-from', '5'
    ]) == 0
    configs = TOOLS.parent / 'configs/body_2d_keypoint/lsp_benchmark'
    capsys.readouterr()
    assert train_speed.main([
        *(str(next(configs.glob(f'{name}_1x*.py')))
          for name in ('td-hm_lgm-pose-fast', 'simcc_rtmpose-t')),
        '--iterations', '1', '--warm-up', '0', '--cfg-options',
        'train_dataloader.batch_size=2'
    ]) == 0
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert 'lgm-pose-fast' in rows[0] and '| 2 |' in rows[0]
    assert '| 1.00 |' in rows[0] and 'rtmpose-t' in rows[1]
