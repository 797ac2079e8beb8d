import argparse
import io
import json
import sys
from contextlib import redirect_stdout

import pytest

from lgm_pose_plugin.benchmark import run as benchmark
from lgm_pose_plugin.cli import benchmark as command


def call(*args):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(arg) for arg in args]))


@pytest.fixture
def results(monkeypatch):
    """What the benchmark is given and what it is made to return."""
    done = benchmark.Result(
        *('rtmpose-t', 'onnxruntime', 1, 2),
        'float32',
        False,
        'CPU',
        'onnxruntime 1.2', (64, 96),
        3,
        3_300_000,
        350_000_000,
        68.2,
        'metafile',
        None,
        *(8.04, 7., 9., .5, 250., .4),
        peak_memory_mb=51.4)
    results = [
        done,
        done._replace(
            network='lgm-pose',
            published_ap=68.6,
            ap_source='paper',
            median_ms=16.1,
            ratio=1.),
        done._replace(
            network='mine.py',
            published_ap=None,
            ap_source='',
            error='ValueError: why',
            **dict.fromkeys(benchmark.Result._fields[15:]))
    ]
    given = []

    def run_benchmark(*args, **kwargs):
        given.append((args, kwargs))
        print('an exporter prints')
        return dict(environment=dict(busy=False, cores=2.), results=results)

    monkeypatch.setattr(benchmark, 'run_benchmark', run_benchmark)
    monkeypatch.setattr(sys, 'argv', ['x', 'benchmark', 'a b'])
    return given, results


def test_options(results, capsys):
    given, _ = results
    assert call('a', 'b', '--backends', 'eager', 'openvino', '--threads', 1, 2,
                '--batch', 1, 8, '--rounds', 7, '--input-size', '64x96',
                '--baseline', 'b', 'openvino') == 0
    assert given.pop() == ((['a', 'b'], ['eager', 'openvino']),
                           dict(
                               input_size=(64, 96),
                               threads=[1, 2],
                               batches=[1, 8],
                               rounds=7,
                               baseline=['b', 'openvino']))
    call()
    (names, backends), options = given.pop()
    assert 'lgm-pose' in names and 'hrnet-w32' in names
    assert backends == ['eager'] and options['input_size'] == (256, 192)


def test_backends_are_those_of_the_benchmark():
    assert command.BACKENDS == benchmark.BACKENDS


def test_markdown(results, capsys):
    assert call('a') == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert 'an exporter prints' in err and 'WARNING' not in out
    assert lines[2] == ('| rtmpose-t | onnxruntime | 1 | 2 | 3.300 | 0.350 '
                        '| 68.2 | 8.0 | 7.0-9.0 | 0.50 | 250.0 | 40% | 51 |')
    assert '| 68.6 (paper) | 16.1 |' in lines[3]
    assert lines[4] == ('| mine.py | onnxruntime | 1 | 2 | 3.300 | 0.350 |  '
                        '| failed |  |  |  |  |  |')
    assert ('- mine.py, onnxruntime, threads 1, batch 2: ValueError: why'
            in lines)
    assert "- command: lgm-pose benchmark 'a b'" in lines
    assert {len(line.split(' | ')) for line in lines[:5]} == {13}


def test_json_and_plot(results, capsys, tmp_path):
    file, plot = tmp_path / 'out.json', tmp_path / 'plot.png'
    assert call('--format', 'json', '--json', file, '--plot', plot) == 0
    text = capsys.readouterr().out
    report = json.loads(text)
    assert json.loads(file.read_text()) == report
    assert set(report) == {'environment', 'results'}
    for row in report['results']:
        assert list(row) == list(benchmark.Result._fields)
    assert plot.read_bytes().startswith(b'\x89PNG')
    assert sorted(tmp_path.iterdir()) == [file, plot]


def test_nothing_measured(results, capsys, tmp_path):
    _, found = results
    del found[:2]
    assert call('--plot', tmp_path / 'plot.png') == 1
    assert 'ValueError: why' in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_busy(monkeypatch, capsys):
    monkeypatch.setattr(
        benchmark, 'run_benchmark',
        lambda *args, **kwargs: dict(environment=dict(busy=True), results=[]))
    call('a')
    assert 'WARNING' in capsys.readouterr().out


@pytest.mark.parametrize('args, match', [
    (['--plot', 'a.txt'], 'a.txt.*png'),
    (['--plot', 'nowhere/a.png'], 'no folder nowhere'),
    (['--json', 'nowhere/a.json'], 'no folder nowhere'),
    (['--json', '.'], r'cannot write \.'),
    (['--pipeline', '--batch', 2], 'no --batch'),
    (['--pipeline', '--threads', 1, 2], 'one number of threads'),
    (['--pipeline', '--input-size', '64x64'], 'no .*--input-size'),
    (['--pipeline', '--backends', 'compile'], "no backend 'compile'"),
])
def test_wrong_options(results, args, match):
    given, _ = results
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        call('lgm-pose', *args)
    assert not given


def test_missing_package(monkeypatch):

    def run_benchmark(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'onnx'")

    monkeypatch.setattr(benchmark, 'run_benchmark', run_benchmark)
    with pytest.raises(ImportError, match='onnx.*pip install'):
        call('a')


def test_usage(capsys):
    for args in (['--input-size', '256'], ['--backends', 'tensorrt']):
        with pytest.raises(SystemExit):
            call(*args)
        assert args[0] in capsys.readouterr().err


@pytest.mark.slow
def test_real_networks(capsys):
    """Eager and exported, in processes of their own."""
    pytest.importorskip('onnx')
    pytest.importorskip('openvino')
    with redirect_stdout(io.StringIO()) as out:
        assert call('rtmpose-t', '--backends', 'eager', 'onnxruntime',
                    'openvino', '--rounds=2', '--input-size=64x96',
                    '--baseline', 'rtmpose-t', 'onnxruntime',
                    '--format=json') == 0
    report = json.loads(out.getvalue())
    rows = {(row['network'], row['backend']): row for row in report['results']}
    assert len(rows) == 3
    for row in rows.values():
        assert row['error'] is None and row['published_ap'] is None
        assert 0 < row['p10_ms'] <= row['median_ms'] <= row['p90_ms']
        assert row['matmul_share'] > 0
    assert rows['rtmpose-t', 'onnxruntime']['ratio'] == 1
    eager, exported = (
        rows['rtmpose-t', name] for name in ('eager', 'onnxruntime'))
    assert eager['runtime'].startswith('torch')
    assert exported['runtime'].startswith('onnxruntime')
    # It knows nothing of torch.
    assert exported['peak_memory_mb'] < eager['peak_memory_mb'] / 2
    assert eager['params'] == exported['params'] > 3e6
    environment = report['environment']
    assert environment['rounds'] == 2 and environment['threads'] == [1]
    assert environment['input (HxW)'] == '64x96'
