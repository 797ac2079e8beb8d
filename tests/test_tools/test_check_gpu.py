"""tools/check_gpu.py and tools/gpu_networks.py."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def networks(load_tool):
    """gpu_networks.py, with small images and one network."""
    if not hasattr(torch, 'compile'):
        pytest.skip('LayerNorm has no bfloat16 on CPUs before torch 2.0')
    tool = load_tool('gpu_networks')
    tool.INPUT_SIZE, tool.OURS, tool.MAX_ROUNDS = (64, 64), ('lgm-pose', ), 3
    yield tool
    tool.open_network.cache_clear()


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('check_gpu')


@pytest.fixture
def check(tool, tmp_path):
    """The steps, in a folder of the test, with half a minute."""
    return tool.Check(
        SimpleNamespace(
            work_dir=tmp_path,
            budget=30,
            device='cpu',
            networks=[],
            batch=2,
            iterations=8))


def test_outputs_are_compared_with_float64(networks):
    rows = list(networks.agreement('cpu', ['lgm-pose', 'unknown']))
    assert rows[0]['float32'] < 1e-4 < rows[0]['bfloat16'] < 0.5
    assert 'error' not in rows[0] and "'unknown'" in rows[1]['error']


def test_other_outputs_are_an_error(networks, monkeypatch):
    monkeypatch.setattr(networks, 'TOLERANCES',
                        dict(float32=1e-3, bfloat16=1e-9))
    row, = networks.agreement('cpu', ['lgm-pose'])
    assert 'allowed in bfloat16 is 1e-09' in row['error']
    broken = [torch.full((2, 3), torch.nan)]
    with pytest.raises(ArithmeticError):
        networks.compare(broken, [torch.rand(2, 3)], 'float32')


@pytest.mark.e2e
def test_speed_is_relative_to_the_first_network(networks):
    names = ['lgm-pose', 'unknown', 'rtmpose-t']
    first, unknown, other = networks.speed('cpu', names, 2, 0)
    for kind in ('float32 x1', 'float32 x2', 'bfloat16 x1', 'bfloat16 x2'):
        assert first[f'{kind} ratio'] == 1
        assert other[f'{kind} ratio'] == pytest.approx(other[f'{kind} (ms)'] /
                                                       first[f'{kind} (ms)'])
    assert other['float32 x2 (images/s)'] == pytest.approx(
        2000 / other['float32 x2 (ms)'])
    assert 'unknown' in unknown['error'] and len(unknown) == 2


@pytest.mark.e2e
def test_layouts_compute_the_same(networks):
    """In training and inference, each is timed."""
    rows = list(networks.layouts('cpu', ['lgm-pose', 'rtmpose-t'], 2, 0))
    assert [(row['precision'], row['training'])
            for row in rows] == [('float32', False), ('float32', True),
                                 ('bfloat16', False), ('bfloat16', True)]
    for row in rows:
        assert row['network'] == 'lgm-pose' and 'error' not in row
        assert all(row[f'{name} (ms)'] > 0 for name in networks.LAYOUTS)
    one, *others = (
        networks.open_call('cpu', 'lgm-pose', layout=layout)()[0]
        for layout in networks.LAYOUTS)
    for other in others:
        torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-4)


def test_compilation_is_checked(networks, monkeypatch):
    monkeypatch.setattr(torch, 'compile', lambda model: model, raising=False)
    rows = list(networks.compilation('cpu', ['lgm-pose'], 2, 0))
    assert [row['batch'] for row in rows] == [1, 2]
    assert all(row['compiled ratio'] > 0 for row in rows)

    def zeros(model):
        return lambda *args, **kwargs: 0 * model(*args, **kwargs)

    monkeypatch.setattr(torch, 'compile', zeros, raising=False)
    for row in networks.compilation('cpu', ['lgm-pose'], 2, 0):
        assert 'ArithmeticError' in row['error']


def python(code):
    return [sys.executable, '-c', code]


def test_process_is_killed_once_the_file_is_there(check, tmp_path):
    file = tmp_path / 'file'
    start = time.monotonic()
    check.call(
        'step',
        python(f'import time; open({str(file)!r}, "w"); time.sleep(60)'),
        until=file)
    assert time.monotonic() - start < 30
    with pytest.raises(ChildProcessError, match='exit status 0'):
        check.call('step', python('pass'), until=tmp_path / 'never')


def test_failed_process_is_named_with_its_last_line(check):
    with pytest.raises(ChildProcessError, match='step.log: .*KeyError: 1'):
        check.call('step', python('print("a"); {}[1]'))


def test_nothing_runs_past_the_budget(check):
    check.deadline = time.monotonic() + .1
    with pytest.raises(TimeoutError, match='the 30 s of --budget are over'):
        check.call('step', python('import time; time.sleep(60)'))


def test_rows_of_a_measurement_that_fails_are_kept(check, monkeypatch):

    def fail(name, command):
        (check.folder / f'{name}.json').write_text('[{"network": "a"}]')
        raise ChildProcessError('it died')

    monkeypatch.setattr(check, 'call', fail)
    result = check.run_step('speed')
    assert result['rows'] == [dict(network='a')]
    assert result['result'] == 'failed' and 'it died' in result['reason']


@pytest.mark.parametrize('change, error', [(0., False), (1e-6, True)])
def test_resumed_weights_are_compared(check, monkeypatch, change, error):
    trained = []

    def train(name, *options, **kwargs):
        assert kwargs['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
        trained.append((name, kwargs.get('until'), kwargs.get('flags')))
        weight = torch.ones(2) + change * (name == 'killed')
        (check.folder / name).mkdir(exist_ok=True)
        save_checkpoint(
            dict(meta={}, state_dict=dict(weight=weight)),
            str(check.folder / name / 'epoch_2.pth'))
        return [{}] * (2 if kwargs.get('flags') else 4)

    monkeypatch.setattr(check, 'train', train)
    result = check.run_step('resume')
    assert trained == [('undisturbed', None, None),
                       ('killed', 'last_checkpoint', None),
                       ('killed', None, ['--resume'])]
    assert result['rows'][0]['different'] == error
    assert result['result'] == ('failed' if error else 'ok')


@pytest.mark.parametrize('last, result', [(.5, 'ok'), (1., 'failed'),
                                          (float('nan'), 'failed')])
def test_figures_of_a_training(check, monkeypatch, last, result):
    records = [
        dict(
            epoch=1 + index // 25,
            loss=1. if index < 50 else last,
            time=.5,
            data_time=.1,
            memory=7) for index in range(100)
    ]
    monkeypatch.setattr(check, 'train', lambda *args: records)
    found = check.run_step('bfloat16')
    assert found['result'] == result
    row, = found['rows']
    assert row['images_per_second'] == pytest.approx(2 / .4)
    assert row['loading_share'] == pytest.approx(.2)
    assert row['memory_mb'] == 7 and row['first_loss'] == 1


def test_no_gpu(tool, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        tool.main([])
    assert 'finds no GPU' in capsys.readouterr().err


@pytest.mark.e2e
def test_command(tmp_path):
    """A step fails, one is skipped, the others go on."""
    result = subprocess.run([
        sys.executable, ROOT / 'tools/check_gpu.py', '--device', 'cpu',
        '--steps', 'agreement', 'ddp', 'float16', '--networks', 'unknown',
        '--batch', '2', '--iterations', '8', '--work-dir', tmp_path, '--json',
        tmp_path / 'report.json'
    ],
                            env=dict(
                                os.environ,
                                PYTHONPATH=str(ROOT),
                                OMP_NUM_THREADS='1'),
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            text=True)
    assert result.returncode == 1, result.stdout
    report = json.loads((tmp_path / 'report.json').read_text())
    found = {step['step']: step for step in report['steps']}
    assert {
        name: step['result']
        for name, step in found.items()
    } == dict(
        agreement='failed', render='ok', ddp='ok', float16='skipped')
    assert found['ddp']['rows'][0]['iterations'] == 2
    assert found['ddp']['rows'][0]['loss'] > 0
    assert 'needs a GPU' in found['float16']['reason']
    assert report['environment']['torch'] == torch.__version__
    assert '| ddp | ok |' in result.stdout
