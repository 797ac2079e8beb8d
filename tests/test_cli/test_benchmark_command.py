import argparse
import json
import sys

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
    done = dict(
        network='rtmpose-t',
        backend='onnxruntime',
        threads=1,
        batch=2,
        device='CPU',
        input_size=(64, 96),
        params=3_300_000,
        macs=350_000_000,
        error=None,
        median_ms=8.04,
        p10_ms=7.,
        p90_ms=9.,
        ratio=.5,
        images_per_second=250.,
        matmul_share=.4,
        peak_memory_mb=51.4)
    results = [
        done,
        dict(done, network='lgm-pose', median_ms=16.1, ratio=1.),
        dict(
            done,
            network='mine.py',
            error='ValueError: why',
            **dict.fromkeys(benchmark.FIGURES))
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


def test_markdown(results, capsys):
    assert call('a') == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert 'an exporter prints' in err and 'WARNING' not in out
    assert lines[2] == ('| rtmpose-t | onnxruntime | 1 | 2 | 3.300 | 0.350 '
                        '| 8.0 | 7.0-9.0 | 0.50 | 250.0 | 40% | 51 |')
    assert '| 0.350 | 16.1 |' in lines[3]
    assert lines[4] == ('| mine.py | onnxruntime | 1 | 2 | 3.300 | 0.350 '
                        '| failed |  |  |  |  |  |')
    assert ('- mine.py, onnxruntime, threads 1, batch 2: ValueError: why'
            in lines)
    assert "- command: lgm-pose benchmark 'a b'" in lines
    assert {len(line.split(' | ')) for line in lines[:5]} == {12}


def test_json(results, capsys, tmp_path):
    _, found = results
    file = tmp_path / 'out.json'
    assert call('--format', 'json', '--json', file) == 0
    report = json.loads(capsys.readouterr().out)
    assert json.loads(file.read_text()) == report == dict(
        environment=dict(
            command="lgm-pose benchmark 'a b'", busy=False, cores=2.),
        results=json.loads(json.dumps(found)))
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_measured(results, capsys):
    _, found = results
    del found[:2]
    assert call() == 1
    assert 'ValueError: why' in capsys.readouterr().out


def test_busy(monkeypatch, capsys):
    monkeypatch.setattr(
        benchmark, 'run_benchmark',
        lambda *args, **kwargs: dict(environment=dict(busy=True), results=[]))
    call('a')
    assert 'WARNING' in capsys.readouterr().out


@pytest.mark.parametrize('args, match', [
    (['--json', 'nowhere/a.json'], 'no folder nowhere'),
    (['--json', '.'], r'cannot write \.'),
])
def test_wrong_options(results, args, match):
    given, _ = results
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        call('lgm-pose', *args)
    assert not given


def test_usage(capsys):
    for args in (['--input-size', '256'], ['--backends', 'tensorrt']):
        with pytest.raises(SystemExit):
            call(*args)
        assert args[0] in capsys.readouterr().err


@pytest.mark.e2e
def test_real_networks(tmp_path):
    """Eager and exported, in processes of their own."""
    pytest.importorskip('onnx')
    pytest.importorskip('openvino')
    assert call('rtmpose-t', '--backends', 'eager', 'onnxruntime', 'openvino',
                '--rounds=2', '--input-size=64x96', '--baseline', 'rtmpose-t',
                'onnxruntime', '--json', tmp_path / 'out.json') == 0
    report = json.loads((tmp_path / 'out.json').read_text())
    rows = {row['backend']: row for row in report['results']}
    assert len(rows) == 3
    network = benchmark.build_network('rtmpose-t', (64, 96))
    macs = sum(benchmark.count_macs(network, (64, 96)).values())
    for row in rows.values():
        assert row['error'] is None
        assert 0 < row['p10_ms'] <= row['median_ms'] <= row['p90_ms']
        assert row['matmul_share'] > 0
        assert row['params'] > 3e6 and row['macs'] == macs
    assert rows['onnxruntime']['ratio'] == 1
    assert rows['eager']['runtime'].startswith('torch')
    assert rows['onnxruntime']['runtime'].startswith('onnxruntime')
    # It knows nothing of torch.
    assert rows['onnxruntime']['peak_memory_mb'] < (
        rows['eager']['peak_memory_mb'] / 2)
    environment = report['environment']
    assert environment['rounds'] == 2 and environment['threads'] == [1]
    assert environment['input (HxW)'] == '64x96'
