"""Running networks in processes of their own."""
import math

import pytest
import torch

from lgm_pose_plugin.benchmark import worker as benchmark_worker
from lgm_pose_plugin.benchmark.worker import Worker

pytestmark = pytest.mark.e2e

RTMPOSE = dict(
    opener='torch',
    network='rtmpose-t',
    batch=2,
    input_size=(64, 64),
    threads=1)
EXPORTED = dict(
    opener='exported',
    runtime='onnxruntime',
    batch=2,
    input_size=(8, 8),
    threads=1)


def serve(requests=0, **task):
    """Serve in this process; return what is answered."""

    class Connection:
        left, sent = requests, []

        def recv(self):
            if not self.left:
                raise EOFError
            self.left -= 1

        def send(self, answer):
            self.sent.append(answer)

    connection = Connection()
    benchmark_worker.serve(task, connection)
    return connection.sent


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
    ready, *answers = serve(2, opener='fake', threads=1)
    assert ready == dict(runtime='fake 1')
    assert [answer['seconds'] for answer in answers] == [1., 1.]
    assert calls == ['run'] + ['run', 'clock', 'run'] * 2


@pytest.mark.parametrize('task', [
    dict(RTMPOSE, mode='eager'),
    dict(RTMPOSE, mode='channels_last'),
    dict(opener='matmul', threads=1)
])
def test_torch_worker(task):
    ready, *answers = serve(2, **task)
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
        **RTMPOSE,
        mode='compile') == [dict(error='RuntimeError: no C++ compiler')]


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
    worker = start(file=file, **EXPORTED)
    assert worker.error is None
    assert worker.runtime.startswith('onnxruntime 1.')
    assert 0 < worker.run() < 10
    assert 20e6 < worker.peak_bytes < 250e6 < benchmark_worker.peak_memory()
    # What happens if the system ends it.
    worker._process.kill()
    assert math.isnan(worker.run()) and math.isnan(worker.run())
    assert worker.error == 'its process ended with exit status -9'


def test_worker_that_cannot_start(start):
    worker = start(file='missing.onnx', **EXPORTED)
    assert worker.error == 'FileNotFoundError: there is no file missing.onnx'
    assert math.isnan(worker.run())
