"""Timing networks in processes of their own."""
import io
import json
import math

import pytest
import torch

from lgm_pose_plugin.benchmark import run as benchmark
from lgm_pose_plugin.benchmark import worker as benchmark_worker
from lgm_pose_plugin.benchmark.run import Entry
from lgm_pose_plugin.benchmark.worker import Worker


@pytest.fixture
def fake(monkeypatch):
    """Workers whose runs take 1, 2 and 4 s times the batch, and who says so.

    Network ``d`` cannot be started, ``e`` ends in its third run; ``c`` cannot
    be exported.
    """
    order, closed = [], []
    durations = dict(a=1., b=2., c=4., d=1., e=1.)

    class FakeWorker:

        def __init__(self, task):
            self.task, self.runs = task, 0
            network = task.get('network') or task.get('file')
            self.error = 'no compiler' if network == 'd' else None
            self.runtime, self.peak_bytes = 'torch 1', 300 * 10**6
            self.network = network

        def run(self):
            if self.task['opener'] == 'matmul':
                return .5
            order.append(self.network)
            self.runs += 1
            if self.network == 'e' and self.runs == 3:
                self.error = 'killed'
            if self.error:
                return math.nan
            return durations[self.network] * self.task['batch']

        def close(self):
            closed.append(self.network)

    def export_files(network, backends, *args):
        files = {name: (network.name, None) for name in backends}
        if network.name == 'c':
            files = {name: ('', 'unsupported') for name in backends}
        return files

    class FakeNetwork(torch.nn.Linear):

        def __init__(self, name, input_size):
            super().__init__(2, 3)
            self.name = name

    monkeypatch.setattr(benchmark, 'Worker', FakeWorker)
    monkeypatch.setattr(benchmark, 'export_files', export_files)
    monkeypatch.setattr(benchmark, 'build_network', FakeNetwork)
    monkeypatch.setattr(benchmark, 'count_macs', lambda *_: dict(conv=2**20))
    monkeypatch.setattr(benchmark, 'published_ap', lambda *_: (60., 'paper'))
    return order, closed


def test_every_round_runs_every_worker_once(fake):
    order, closed = fake
    benchmark.run_benchmark('abc', rounds=30, warmup=2)
    rounds = [tuple(order[i:i + 3]) for i in range(0, 32 * 3, 3)]
    assert len(order) == 32 * 3
    assert all(sorted(one) == list('abc') for one in rounds)
    assert len(set(rounds)) == 6
    assert closed == [None, *'cba']
    first, order[:] = list(order), []
    benchmark.run_benchmark('abc', rounds=30, warmup=2)
    assert order == first


def test_networks_are_described_once(fake, monkeypatch):
    """Whatever the number of backends, threads and batches."""
    described = []

    def published_ap(name, input_size):
        described.append(name)
        return None, ''

    monkeypatch.setattr(benchmark, 'published_ap', published_ap)
    benchmark.run_benchmark(
        'ab', ['eager', 'openvino'], batches=[1, 2], rounds=1)
    assert described == ['a', 'b']


def test_figures(fake):
    report = benchmark.run_benchmark(
        'abca', ['eager', 'openvino-int8'],
        batches=[2, 3],
        rounds=3,
        baseline=['b'])
    results = {Entry(*result[:4]): result for result in report['results']}
    assert len(results) == 12 == len(report['results'])
    result = results['c', 'eager', 1, 2]
    assert result == Entry('c', 'eager', 1, 2) + (
        'float32', False, benchmark.cpu_model(), 'torch 1',
        (256, 192), 3, 9, 2**20, 60., 'paper', None, 8e3, 8e3, 8e3, 2., .25,
        2**20 / 4 / (2**30 / .5), 300.)
    # Ratios are within the same batch.
    assert results['a', 'eager', 1, 3].ratio == .5
    assert results['a', 'openvino-int8', 1, 3].precision == 'int8'
    assert results['a', 'openvino-int8', 1, 3].ratio == .5
    failed = results['c', 'openvino-int8', 1, 3]
    assert failed.error == 'unsupported' and failed.median_ms is None
    assert report['environment']['baseline'] == 'b eager'


def test_failures_leave_the_rest(fake):
    results = benchmark.run_benchmark(
        'daeb', rounds=4, warmup=0, baseline=['d'])['results']
    assert [result.error
            for result in results] == ['no compiler', None, 'killed', None]
    assert [result.median_ms for result in results] == [None, 1e3, None, 2e3]
    # The baseline was not measured.
    assert results[1].ratio is None


def test_spread_leaves_the_warm_up_out():
    seconds = iter([9., 9.] + list(range(11)))
    timed = benchmark.time_interleaved({'a': lambda: next(seconds)}, 11, 2)
    assert timed == {'a': list(range(11))}


@pytest.mark.parametrize('cores, load, busy',
                         [(2., 1.2, False), (2., 1.8, True), (8., 1.8, False),
                          (1., .3, False)])
def test_busy_machine(monkeypatch, cores, load, busy):
    monkeypatch.setattr(benchmark, 'available_cpus', lambda: cores)
    assert benchmark.describe_environment(load, 1)['busy'] == busy


def test_bad_arguments():
    for name, value in dict(rounds=0, batches=[1, 0], threads=[0]).items():
        with pytest.raises(ValueError, match='must be at least 1, got 0'):
            benchmark.run_benchmark(**{name: value})
    with pytest.raises(ValueError, match='tensorrt.*eager, channels_last'):
        benchmark.run_benchmark(['lgm-pose'], ['tensorrt'])
    for baseline in (['vgg'], ['lgm-pose', 'compile'], ['a', 'b', 'c']):
        with pytest.raises(
                ValueError, match=f'{baseline[0]}.*lgm-pose.*eager'):
            benchmark.run_benchmark(['lgm-pose'], baseline=baseline)
    with pytest.raises(ValueError, match='no config.*vgg.*lgm-pose-l'):
        benchmark.run_benchmark(['lgm-pose', 'vgg'])


def test_exports(tmp_path):
    """What an exporter refuses is told, and so for what is made of it."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('openvino')
    network = benchmark.build_network('rtmpose-t', (64, 64))
    assert benchmark.describe_network('rtmpose-t', network,
                                      (64, 64))['macs'] > 1e7
    files = benchmark.export_files(network, ['onnxruntime-int8', 'openvino'],
                                   3, (64, 64), str(tmp_path / 'a'))
    assert {
        name: error
        for name, (_, error) in files.items()
    } == {
        'onnxruntime': None,
        'onnxruntime-int8': None,
        'openvino': None
    }
    graph = onnx.load(files['onnxruntime'][0]).graph
    shape = graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [3, 3, 64, 64]
    kinds = {
        node.op_type
        for node in onnx.load(files['onnxruntime-int8'][0]).graph.node
    }
    assert 'QuantizeLinear' in kinds

    def refuse(*args, **kwargs):
        raise RuntimeError('cannot  trace\nthis')

    network._forward = refuse
    files = benchmark.export_files(network, ['openvino'], 1, (64, 64),
                                   str(tmp_path / 'b'))
    assert files['openvino'][1] == 'RuntimeError: cannot trace this'


def serve(requests='', **task):
    answers = io.StringIO()
    benchmark_worker.serve(task, io.StringIO(requests), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_second_run_is_timed(monkeypatch):
    """The first finds the caches as other processes left them."""
    calls = []

    def time_call(run):
        calls.append('clock')
        run()
        return 1.

    def opener(threads):
        return lambda: calls.append('run'), 'fake 1'

    monkeypatch.setattr(benchmark_worker, 'time_call', time_call)
    monkeypatch.setitem(benchmark_worker.OPENERS, 'fake', opener)
    ready, *answers = serve('run\nrun\n', opener='fake', threads=1)
    assert ready == dict(runtime='fake 1')
    assert [answer['seconds'] for answer in answers] == [1., 1.]
    assert calls == ['run'] + ['run', 'clock', 'run'] * 2


@pytest.mark.parametrize('mode', ['eager', 'channels_last'])
def test_torch_worker(mode):
    ready, *answers = serve(
        'run\nrun\n',
        opener='torch',
        network='rtmpose-t',
        mode=mode,
        batch=2,
        input_size=(64, 64),
        threads=1)
    assert ready == dict(runtime=f'torch {torch.__version__}')
    assert len(answers) == 2
    for answer in answers:
        assert 0 < answer['seconds'] < 60
        assert answer['peak_bytes'] == pytest.approx(
            benchmark_worker.peak_memory(), rel=.5)


def test_compile_that_fails(monkeypatch):

    def no_compiler(model):
        raise RuntimeError('no C++ compiler')

    monkeypatch.setattr(torch, 'compile', no_compiler, raising=False)
    assert serve(
        opener='torch',
        network='rtmpose-t',
        mode='compile',
        batch=1,
        input_size=(64, 64),
        threads=1) == [dict(error='RuntimeError: no C++ compiler')]


@pytest.fixture
def start():
    workers = []

    def start(**task):
        workers.append(Worker(task))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def test_exported_worker_has_no_torch(start, tmp_path):
    """A process of its own, whose memory is not that of this one."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from onnx import TensorProto, helper
    shape = [2, 3, 8, 8]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in 'xy'
    ]
    graph = helper.make_graph([helper.make_node('Relu', ['x'], ['y'])], 'g',
                              values[:1], values[1:])
    file = str(tmp_path / 'relu.onnx')
    onnx.save(
        helper.make_model(
            graph, ir_version=8, opset_imports=[helper.make_opsetid('', 17)]),
        file)
    worker = start(
        opener='exported',
        file=file,
        runtime='onnxruntime',
        batch=2,
        input_size=(8, 8),
        threads=1)
    assert worker.error is None
    assert worker.runtime.startswith('onnxruntime 1.')
    assert 0 < worker.run() < 10
    assert 20e6 < worker.peak_bytes < 250e6 < benchmark_worker.peak_memory()
    # What happens if the system ends it.
    worker._process.kill()
    assert math.isnan(worker.run()) and math.isnan(worker.run())
    assert worker.error == 'its process ended with exit status -9'


def test_worker_that_cannot_start(start):
    worker = start(
        opener='exported',
        file='missing.onnx',
        runtime='onnxruntime',
        batch=1,
        input_size=(8, 8),
        threads=1)
    assert worker.error == ('FileNotFoundError: there is no file missing.onnx')
    assert math.isnan(worker.run())


def test_matmul_worker():
    ready, answer = serve('run\n', opener='matmul', threads=1)
    assert ready['runtime'].startswith('torch') and answer['seconds'] > 0
