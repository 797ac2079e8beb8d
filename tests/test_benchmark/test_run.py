"""Timing networks against each other."""
import math

import pytest
import torch

from lgm_pose_plugin.benchmark import run as benchmark

pytestmark = pytest.mark.e2e


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
            self.network = task.get('network') or task.get('file')
            self.error = 'no compiler' if self.network == 'd' else None
            self.runtime, self.peak_bytes = 'torch 1', 300 * 10**6

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

    def export_file(network, *args):
        if network.name == 'c':
            raise RuntimeError('cannot  trace\nthis')
        return network.name

    class FakeNetwork(torch.nn.Linear):

        def __init__(self, name, input_size):
            super().__init__(2, 3)
            self.name = name

    monkeypatch.setattr(benchmark, 'Worker', FakeWorker)
    monkeypatch.setattr(benchmark, 'export_file', export_file)
    monkeypatch.setattr(benchmark, 'build_network', FakeNetwork)
    monkeypatch.setattr(benchmark, 'count_macs', lambda *_: dict(conv=2**20))
    return order, closed


@pytest.mark.promise('benchmark')
def test_every_round_runs_every_worker_once(fake):
    order, closed = fake
    benchmark.run_benchmark('abc', rounds=30)
    rounds = [tuple(order[i:i + 3]) for i in range(0, len(order), 3)]
    assert len(rounds) == 3 + 30
    assert all(sorted(one) == list('abc') for one in rounds)
    assert len(set(rounds)) == 6
    assert closed == [None, *'cba']
    first, order[:] = list(order), []
    benchmark.run_benchmark('abc', rounds=30)
    assert order == first


def test_figures(fake):
    report = benchmark.run_benchmark(
        'abca', ['eager', 'openvino-int8'],
        batches=[2, 3],
        rounds=3,
        baseline=['b'])
    rows = {
        (row['network'], row['backend'], row['batch']): row
        for row in report['results']
    }
    assert len(rows) == 12 == len(report['results'])
    assert rows['c', 'eager', 2] == dict(
        network='c',
        backend='eager',
        threads=1,
        batch=2,
        precision='float32',
        flip=False,
        device=benchmark.cpu_model(),
        runtime='torch 1',
        input_size=(256, 192),
        rounds=3,
        params=9,
        macs=2**20,
        error=None,
        median_ms=8e3,
        p10_ms=8e3,
        p90_ms=8e3,
        ratio=2.,
        images_per_second=.25,
        matmul_share=2**20 / 4 / (2**30 / .5),
        peak_memory_mb=300.)
    # Ratios are within the same batch.
    assert rows['a', 'eager', 3]['ratio'] == .5
    assert rows['a', 'openvino-int8', 3]['precision'] == 'int8'
    assert rows['a', 'openvino-int8', 3]['ratio'] == .5
    failed = rows['c', 'openvino-int8', 3]
    assert failed['error'] == 'RuntimeError: cannot trace this'
    assert failed['median_ms'] is None
    assert report['environment']['baseline'] == 'b eager'


def test_failures_leave_the_rest(fake):
    rows = benchmark.run_benchmark('daeb', rounds=4, baseline=['d'])['results']
    assert [row['error']
            for row in rows] == ['no compiler', None, 'killed', None]
    assert [row['median_ms'] for row in rows] == [None, 1e3, None, 2e3]
    # The baseline was not measured.
    assert rows[1]['ratio'] is None


@pytest.mark.parametrize('kwargs, match', [
    (dict(rounds=0), 'rounds must be at least 1'),
    (dict(batches=[1, 0]), 'must be at least 1'),
    (dict(threads=[0]), 'must be at least 1'),
    (dict(backends=['tensorrt']), 'tensorrt.*eager, channels_last'),
    (dict(baseline=['vgg']), 'vgg.*lgm-pose.*eager'),
    (dict(baseline=['lgm-pose', 'compile']), 'compile.*lgm-pose.*eager'),
    (dict(baseline=['a', 'b', 'c']), 'a b c.*lgm-pose.*eager'),
    (dict(names=['lgm-pose', 'vgg']), 'no config.*vgg.*lgm-pose-l'),
])
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        benchmark.run_benchmark(**{'names': ['lgm-pose'], **kwargs})


def test_exported_files(tmp_path):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('openvino')
    network = benchmark.build_network('rtmpose-t', (64, 64))
    files = {
        backend:
        benchmark.export_file(network, backend, 3, (64, 64), str(tmp_path))
        for backend in ('onnxruntime', 'onnxruntime-int8', 'openvino')
    }
    graph = onnx.load(files['onnxruntime']).graph
    shape = graph.input[0].type.tensor_type.shape
    assert [dim.dim_value for dim in shape.dim] == [3, 3, 64, 64]
    kinds = {
        node.op_type
        for node in onnx.load(files['onnxruntime-int8']).graph.node
    }
    assert 'QuantizeLinear' in kinds
    assert files['openvino'].endswith('.xml')
