"""The figures of docs/benchmark.md come from JSON."""
import json
import re
import subprocess

import pytest


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('benchmark_docs')


def row(network, backend, median, error=None):
    return dict(
        network=network,
        backend=backend,
        threads=1,
        batch=1,
        device='CPU',
        input_size=[256, 192],
        params=1_000_000,
        macs=600_000_000,
        error=error,
        median_ms=median,
        p10_ms=median,
        p90_ms=median,
        ratio=median and median / 30,
        images_per_second=1.,
        matmul_share=None,
        peak_memory_mb=None)


def frame(backend, people, share):
    return dict(
        network='lgm-pose',
        backend=backend,
        people=people,
        stages_ms=dict(read=1., network=5.),
        total_ms=6.,
        p10_ms=5.,
        p90_ms=7.,
        around_share=share)


def cells(text):
    return [[cell.strip() for cell in line.strip('|\n').split('|')]
            for line in text.splitlines()[2:]]


def test_targets(tool):
    rows = [
        row('lgm-pose', 'eager', 30.),
        row('mobilenetv2', 'eager', 45.),
        row('litehrnet-18', 'eager', 47.9),
        row('lgm-pose', 'openvino', 10.),
        row('rtmpose-t', 'openvino', 5.),
        row('lgm-pose', 'openvino-int8', 5.),
        row('mobilenetv2', 'openvino', None, 'broken'),
    ]
    frames = [
        frame('eager', 1, .9),
        frame('eager', 4, .15),
        frame('openvino', 4, .151)
    ]
    found = {
        line[0]: line[1:]
        for line in cells(tool.targets_table(rows, frames))
    }
    assert found['lgm-pose eager, times as fast as mobilenetv2 eager'] == [
        'at least 1.50', '1.50', 'met'
    ]
    assert found['lgm-pose eager, times as fast as litehrnet-18 eager'] == [
        'at least 1.60', '1.60', '**missed**'
    ]
    assert found['lgm-pose openvino, times as fast as lgm-pose eager'] == [
        'at least 2.50', '3.00', 'met'
    ]
    assert found[
        'lgm-pose openvino-int8, times as fast as rtmpose-t openvino'] == [
            'at least 1.00', '1.00', 'met'
        ]
    # Nothing measured of one, of the other, or of both.
    for name in ('lgm-pose openvino, times as fast as mobilenetv2 openvino',
                 'lgm-pose onnxruntime, times as fast as lgm-pose eager',
                 'lgm-pose-fast openvino-int8, times as fast as rtmpose-t '
                 'openvino-int8'):
        assert found[name][1:] == ['', 'not measured']
    shares = [line[2:] for name, line in found.items() if 'four' in name]
    assert shares == [['met'], ['**missed**']]
    assert len(found) == 2 + 7 * 2 + 2


@pytest.fixture
def reports(tool):
    rows = [row('lgm-pose', 'eager', 30.), row('lgm-pose', 'openvino', 12.)]
    frames = [frame('eager', 4, .1)]
    return {
        name:
        dict(
            environment=dict(
                dict.fromkeys(tool.ENVIRONMENT, 'x'), command=name),
            results=frames if name == 'pipeline' else rows)
        for name in tool.RUNS
    }


def test_writes_the_document(tool, reports, request, tmp_path, monkeypatch):
    """The committed document with figures of a run; again changes nothing."""
    monkeypatch.setattr(subprocess, 'run', None)
    document = tmp_path / 'benchmark.md'
    (tmp_path / 'images').mkdir()
    text = (request.config.rootpath / 'docs' / 'benchmark.md').read_text()
    document.write_text(text)
    for name, report in reports.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(report))
    args = ['--write-only', '--folder', tmp_path, '--document', document]
    assert tool.main([str(arg) for arg in args]) == 0
    written = document.read_text()
    assert '| lgm-pose | 1.00 | 0.60 | 68.6 (paper) | 30.0 (1.00) | 12.0' in (
        written)
    assert '- torch: x\n' in written
    kept = json.loads(document.with_suffix('.json').read_text())
    assert [run['environment']['command']
            for run in kept.values()] == list(tool.RUNS)
    assert '| `rtmpose-t` | rtmpose-t_8xb256-420e_coco-256x192.py |' in written
    assert written.startswith(text.split('<!-- benchmark')[0])
    tool.main([str(arg) for arg in args])
    assert document.read_text() == written
    assert len(list(tmp_path.iterdir())) == len(reports) + 3
    plot, = (tmp_path / 'images').iterdir()
    assert plot.read_bytes().startswith(b'\x89PNG')


def test_runs_the_benchmark(tool, reports, tmp_path, monkeypatch):
    commands = []

    def run(command, **kwargs):
        commands.append(command)
        name = tmp_path / command[-1]
        name.write_text(json.dumps(reports[name.stem]))

    monkeypatch.setattr(subprocess, 'run', run)
    document = tmp_path / 'benchmark.md'
    (tmp_path / 'images').mkdir()
    names = [*reports, 'targets', 'networks', 'environment']
    document.write_text(''.join(
        f'<!-- benchmark:{name} -->\n<!-- /benchmark:{name} -->\n'
        for name in names))
    tool.main([
        '--folder',
        str(tmp_path), '--document',
        str(document), '--rounds', '2'
    ])
    assert len(commands) == len(tool.RUNS)
    assert all(command[-4:-2] == ['--rounds', '2'] for command in commands)
    from lgm_pose_plugin.cli import benchmark as command_line
    parser = command_line.argparse.ArgumentParser()
    command_line.add_arguments(parser)
    for command in commands[:-1]:
        assert command[2:4] == ['lgm_pose_plugin', 'benchmark']
        parser.parse_args(command[4:])
    assert commands[-1][1] == 'tools/frame_benchmark.py'


def test_no_place_for_the_document(tool, tmp_path, monkeypatch):
    """Known before hours of timing."""
    monkeypatch.setattr(subprocess, 'run', None)
    with pytest.raises(FileNotFoundError, match='no folder .*nowhere'):
        tool.main(['--document', str(tmp_path / 'nowhere' / 'a.md')])


def test_wrong_markers(tool):
    with pytest.raises(ValueError, match='markers a, .* for b'):
        tool.replace_sections('<!-- benchmark:a -->\n<!-- /benchmark:a -->',
                              dict(b=''))


@pytest.mark.parametrize('name, expected', [
    ('rtmpose-t', (68.2, 'metafile')),
    ('litehrnet-30', (67.6, 'metafile')),
    ('hrnet-w32', (74.6, 'metafile')),
    ('lgm-pose', (68.6, 'paper')),
    ('lgm-pose-l', (None, '')),
    ('lgm-pose-mobilevit', (None, '')),
])
def test_published_ap(tool, name, expected):
    assert tool.published_ap(name, (256, 192)) == expected
    assert tool.published_ap(name, (128, 96)) == (None, '')


@pytest.mark.promise('readme-figures')
def test_readme_has_the_papers_figures(tool, request):
    page = (request.config.rootpath / 'docs/model_zoo.md').read_text()
    table = dict(re.findall(r'^\| (\S+) \| ([\d.]+)', page, re.MULTILINE))
    for name, column in (('lgm-pose', 'LGM-Pose'), ('lapx', 'LAPX'), ('lap',
                                                                      'LAP')):
        ap, source = tool.published_ap(name, (256, 192))
        assert f'{ap:.1f}' == table[column] and source == 'paper'
