"""docs/paper_tables.md holds what tools/paper_tables.py measured."""
import json
import re
from pathlib import Path

import pytest

from lgm_pose_plugin.models.builder import load_config


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('paper_tables')


def result(network, backend, median, **figures):
    return dict(
        dict(
            network=network,
            backend=backend,
            median_ms=median,
            p10_ms=median,
            p90_ms=median and median + 1,
            params=1_234_000,
            macs=500_000_000,
            peak_memory_mb=99.6,
            error=None if median else 'broken'), **figures)


@pytest.fixture
def report():
    environment = dict(
        CPU='a CPU', python='3', torch='2', mmpose='1', mmcv='2', mmengine='0')
    return {
        '256x192':
        dict(
            environment=dict(environment, rounds=5),
            results=[
                result('lgm-pose', 'eager', 40.),
                result('mobilenetv2', 'eager', 50.),
                result('lgm-pose', 'onnxruntime', 20.),
                result('mobilenetv2', 'onnxruntime', None),
                result('litehrnet-18', 'onnxruntime', 16.),
            ])
    }


def rows(text):
    lines = [[cell.strip() for cell in line.strip('|').split('|')]
             for line in text.splitlines()]
    return [dict(zip(lines[0], line)) for line in lines[2:] if len(line) > 1]


def test_table(tool, report):
    table = tool.format_table(report, tool.TABLES['lgm_coco'])
    first, second = rows(table)[:2]
    assert first['PyTorch'] == first['ONNX Runtime'] == '1.00'
    assert first['params (M)'] == '1.23 (1.1)'
    assert first['COCO AP'] == '(68.6)'
    assert second['PyTorch'] == '0.80'  # 40 / 50
    assert second['ONNX Runtime'] == ''  # failed
    assert second["paper's CPU"] == '(0.74)'  # 24.5 / 33.1
    lite = next(
        row for row in rows(table) if row['network'] == 'Lite-HRNet-18')
    assert lite['ONNX Runtime'] == '1.25' and lite['PyTorch'] == ''
    assert 'OpenVINO' not in first and 'GPU' not in first
    assert first['memory (MB)'] == '100'


def test_rows_without_a_definition_say_why(tool, report):
    for table in tool.TABLES.values():
        assert table.rows[0].network
        assert all(row.network or row.note for row in table.rows)
    table = tool.format_table(report, tool.TABLES['lgm_coco'])
    row = next(row for row in rows(table) if row['network'] == 'MSFNet')
    assert 'no public definition' in row['']


def test_times(tool, report):
    text = tool.format_times(report)
    first = rows(text)[0]
    assert first['PyTorch'] == '40.0 (40.0-41.0)'
    assert 'mobilenetv2, onnxruntime: broken' in text


def test_pareto_front(tool):
    points = [(3., 60.), (1., 50.), (2., 55.), (2., 54.), (4., 60.), (5., 59.)]
    assert tool.pareto_front(points) == [(1., 50.), (2., 55.), (3., 60.)]


def test_measures_the_networks_of_a_size(tool, report, monkeypatch):
    commands = []

    def run(command, **kwargs):
        commands.append(command)
        file = command[command.index('--json') + 1]
        part = dict(report['256x192'])
        part['environment'] = dict(part['environment'], command='x')
        part['results'] = part['results'][:1]
        Path(file).write_text(json.dumps(part))

    monkeypatch.setattr(tool.subprocess, 'run', run)
    monkeypatch.setattr(tool.torch.cuda, 'is_available', lambda: False)
    measured = tool.measure((384, 288), 7)
    assert len(measured['results']) == len(commands) == 2
    assert measured['environment']['rounds'] == 5
    for command in commands:
        assert set(tool.networks((384, 288))) < set(command)
        assert command[command.index('--input-size') + 1] == '384x288'
        assert command[command.index('--rounds') + 1] == '7'


def test_gpu(tool, report):
    """Its path, on the CPU."""
    result, failed = tool.time_gpu(['lgm-pose', 'nothing'], 'cpu', .1)
    assert result['median_ms'] > 0 and result['error'] is None
    assert failed['median_ms'] is None and 'nothing' in failed['error']
    report['256x192']['results'] += [result, failed]
    table = rows(tool.format_table(report, tool.TABLES['lgm_coco']))
    assert table[0]['GPU'] == '1.00'


@pytest.mark.parametrize('size', [(256, 192), (384, 288), (256, 256)])
def test_networks_have_configs(tool, size):
    names = tool.networks(size)
    assert len(names) == len(set(names)) > 1
    assert all('model' in load_config(name) for name in names)


def test_page_shows_the_json(tool, request):
    """Page and JSON are of the same run."""
    docs = request.config.rootpath / 'docs'
    report = json.loads((docs / 'paper_tables.json').read_text())
    page = (docs / 'paper_tables.md').read_text()
    assert tool.replace_sections(page, tool.sections(report)) == page
    svg = (docs / tool.PLOT).read_text()
    assert re.search('LGM-Pose', svg) and 'Dite-HRNet-18' in svg
