import argparse
import json

import pytest
import torch

from lgm_pose_plugin import benchmark
from lgm_pose_plugin.cli import benchmark as command


def call(*args):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(arg) for arg in args]))


@pytest.fixture(autouse=True)
def no_network_and_same_threads(monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError('the network was used')

    monkeypatch.setattr('socket.socket.connect', refuse)
    monkeypatch.setattr('mmengine.runner.checkpoint.load_checkpoint', refuse)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fake_networks(monkeypatch):
    """Networks that take 1, 2 and 4 s, by a clock that says so."""
    now, order = [0.], []

    class Fake(torch.nn.Linear):

        def __init__(self, name, duration):
            super().__init__(2, 3)
            self.name, self.duration = name, duration

        def forward(self, inputs):
            assert torch.is_inference_mode_enabled()
            order.append(self.name)
            now[0] += self.duration

    durations = dict(a=1., b=2., c=4.)
    monkeypatch.setattr(benchmark, 'build_network',
                        lambda name, size: Fake(name, durations[name]))
    monkeypatch.setattr(benchmark, 'get_model_complexity_info',
                        lambda *args, **kwargs: dict(flops=7))
    monkeypatch.setattr(benchmark.time_interleaved, '__defaults__',
                        (20, lambda: now[0]))
    return order


def test_every_round_runs_every_network_once(fake_networks):
    benchmark.run_benchmark('abc', rounds=30, warmup=2)
    rounds = [tuple(fake_networks[i:i + 3]) for i in range(0, 32 * 3, 3)]
    assert len(fake_networks) == 32 * 3
    assert all(sorted(order) == list('abc') for order in rounds)
    assert len(set(rounds)) == 6
    first, fake_networks[:] = list(fake_networks), []
    benchmark.run_benchmark('abc', rounds=30, warmup=2)
    assert fake_networks == first


def test_figures(fake_networks):
    results = benchmark.run_benchmark(
        'abca', rounds=3, batch=2, baseline='b')['results']
    assert results == [('a', 9, 7, 1e3, 1e3, 1e3, .5, 2.),
                       ('b', 9, 7, 2e3, 2e3, 2e3, 1., 1.),
                       ('c', 9, 7, 4e3, 4e3, 4e3, 2., .5)]
    assert benchmark.run_benchmark('cb', rounds=1)['results'][1].ratio == .5


def test_spread_leaves_the_warm_up_out(fake_networks, monkeypatch):
    # The clock is asked before and after each call: durations 9, 9, 0 ... 10.
    durations = iter([9., 9.] + list(range(11)))
    ticks = (tick for duration in durations for tick in (0., duration))
    seconds = benchmark.time_interleaved({'a': lambda: None}, 11, 2,
                                         lambda: next(ticks))
    assert seconds == {'a': list(range(11))}
    monkeypatch.setattr(benchmark, 'time_interleaved', lambda *_: seconds)
    result, = benchmark.run_benchmark('a')['results']
    assert (result.p10_ms, result.median_ms, result.p90_ms) == (1e3, 5e3, 9e3)


@pytest.mark.parametrize('cores, load, busy',
                         [(2., 1.2, False), (2., 1.8, True), (8., 1.8, False),
                          (1., .3, False)])
def test_busy_machine(fake_networks, monkeypatch, capsys, cores, load, busy):
    monkeypatch.setattr(benchmark, 'available_cpus', lambda: cores)
    monkeypatch.setattr('os.getloadavg', lambda: (load, 0., 0.), raising=False)
    assert call('a', '--rounds', 1) == 0
    assert ('WARNING' in capsys.readouterr().out) == busy


def test_json_and_markdown_of_real_networks(capsys):
    args = ('lgm-pose-mobilevit', 'rtmpose-t', '--rounds=2',
            '--input-size=64x96', '--memory-format=channels_last')
    assert call(*args, '--format=json') == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {'environment', 'results'}
    assert [list(result) for result in report['results']
            ] == [list(benchmark.Result._fields)] * 2
    lgm, rtmpose = report['results']
    assert lgm['name'] == 'lgm-pose-mobilevit' and lgm['ratio'] == 1
    assert rtmpose['params'] > 3e6 > lgm['params'] > 2e6
    for result in report['results']:
        assert 0 < result['p10_ms'] <= result['median_ms'] <= result['p90_ms']
        assert result['macs'] > 1e6
    environment = report['environment']
    assert environment['input (HxW)'] == '64x96'
    assert environment['memory format'] == 'channels_last'
    assert environment['rounds'] == 2 and environment['threads'] == 1
    assert len(environment['load average']) == 2
    assert environment['torch'] == torch.__version__ and environment['CPU']

    assert call(*args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith('| lgm-pose-mobilevit | 2.')
    assert f'- CPU: {environment["CPU"]}' in lines


@pytest.mark.parametrize('name', benchmark.NETWORKS)
def test_networks(name):
    network = benchmark.build_network(name, (128, 96))
    with torch.inference_mode():
        out = network(torch.rand(1, 3, 128, 96))
    shapes = {
        'rtmpose-t': [(1, 17, 192), (1, 17, 256)],
        'lapx': [(1, 17, 32, 24)] * 3,
        'lap': [(1, 17, 32, 24)] * 2
    }
    out = [out] if isinstance(out, torch.Tensor) else out
    assert [o.shape for o in out] == shapes.get(name, [(1, 17, 32, 24)])
    assert not any(module.training for module in network.modules())
    assert not any(
        isinstance(module, torch.nn.SyncBatchNorm)
        for module in network.modules())


def test_load_config():
    name = 'mmpose::' + benchmark.NETWORKS['rtmpose-t'].partition('::')[2]
    assert benchmark.load_config(name).model.head.type == 'RTMCCHead'
    mpii = benchmark.NETWORKS['lgm-pose-mobilevit']
    cfg = benchmark.load_config(mpii)
    assert cfg.model.head.out_channels == 16
    assert benchmark.load_config(cfg.filename).model == cfg.model


@pytest.mark.parametrize(
    'name', ['resnet', 'nowhere/config.py', 'mmpose::no.py', 'absent::a.py'])
def test_unknown_config(name):
    with pytest.raises(ValueError, match=f'{name}.*lgm-pose-l.*rtmpose-t'):
        benchmark.run_benchmark(['rtmpose-t', name])


@pytest.mark.parametrize('text', [
    'a = 1',
    "model = dict(type='mmpose.BottomupPoseEstimator', "
    "backbone=dict(type='mmpose.MobileNetV2', out_indices=(7, )), "
    "head=dict(type='mmpose.HeatmapHead', in_channels=1280, "
    'out_channels=17))',
])
def test_not_top_down(tmp_path, text):
    path = tmp_path / 'other.py'
    path.write_text(text)
    with pytest.raises(ValueError, match='other.py is no config of a top'):
        benchmark.build_network(str(path), (64, 64))


def test_bad_arguments(capsys):
    for name in ('rounds', 'batch', 'threads'):
        with pytest.raises(ValueError, match=f'{name} must be at least 1'):
            benchmark.run_benchmark(**{name: 0})
    with pytest.raises(ValueError, match='vgg.*lgm-pose, lgm-pose-l'):
        benchmark.run_benchmark(baseline='vgg')
    with pytest.raises(SystemExit):
        call('--input-size', '256')
    assert 'HxW' in capsys.readouterr().err
