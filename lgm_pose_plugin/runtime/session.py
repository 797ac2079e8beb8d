"""Networks in ONNX Runtime, OpenVINO, LiteRT and ncnn."""
import functools
import hashlib
import json
import os.path as osp
import threading
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple, Union

import numpy as np

METADATA_KEY = 'lgm_pose_plugin'
# Where OpenVINO's .xml keeps the SHA-256 of the .bin that belongs to it.
BIN_KEY = 'lgm_pose_plugin_bin'
# The same of ncnn's files, in the .json beside them.
HASHES_KEY = 'sha256'
# Backends by suffix, the first is the default.
BACKENDS = {
    '.onnx': ('onnxruntime', 'openvino'),
    '.xml': ('openvino', ),
    '.tflite': ('litert', ),
    '.param': ('ncnn', )
}
# What lies beside a file under the same name.
PARTS = {
    '.onnx': (),
    '.xml': ('.bin', ),
    '.tflite': (),
    '.param': ('.bin', '.json')
}
# ONNX Runtime's devices: its name for each, and the package that brings it.
PROVIDERS = {
    'cpu': ('CPUExecutionProvider', 'onnxruntime'),
    'cuda': ('CUDAExecutionProvider', 'onnxruntime-gpu'),
    'tensorrt': ('TensorrtExecutionProvider', 'onnxruntime-gpu'),
    'coreml': ('CoreMLExecutionProvider', 'onnxruntime on macOS'),
    'directml': ('DmlExecutionProvider', 'onnxruntime-directml on Windows'),
}
MAX_BATCH = 4096  # that a file fixes

GPUS = ('cuda', 'tensorrt')  # with a number, as cuda:1

# The input, or all inputs by name; and the outputs by name.
Inputs = Union[np.ndarray, Dict[str, np.ndarray]]
Outputs = Dict[str, np.ndarray]
# With None for any size.
Shape = Tuple[Optional[int], ...]


class Session(NamedTuple):
    """An opened network.

    Attributes:
        metadata (str, optional): What the file holds under ``METADATA_KEY``.
        input_shape (tuple[int, ...]): Shape of the first input, with ``None``
            for any size.
        outputs (dict[str, tuple]): Shapes of the outputs by name, in order.
        run (callable): Takes the input, or all inputs by name, and returns
            the outputs by name.
    """
    metadata: Optional[str]
    input_shape: Shape
    outputs: Dict[str, Shape]
    run: Callable[[Inputs], Outputs]

    @property
    def batch(self) -> Optional[int]:
        """int, optional: The batch size, ``None`` for any."""
        return self.input_shape[0]


def open_session(file: str,
                 backend: Optional[str] = None,
                 threads: int = 1,
                 device: str = 'cpu') -> Session:
    """Open a file in its runtime, computing in float32.

    Args:
        file (str): An .onnx, .xml, .tflite or .param file.
        backend (str, optional): ``'onnxruntime'``, ``'openvino'``,
            ``'litert'`` or ``'ncnn'``. Defaults to that of the format;
            OpenVINO runs .onnx files, too.
        threads (int): Threads the runtime may use. Defaults to 1.
        device (str): What computes: ``'cpu'``; of ONNX Runtime ``'cuda'``,
            ``'tensorrt'`` (with a number as ``'cuda:1'`` that GPU),
            ``'coreml'`` or ``'directml'``; of OpenVINO
            ``'openvino:'`` and one of its devices, as ``'openvino:GPU'``.
            Defaults to ``'cpu'``.

    Returns:
        Session: The network.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime, or what it needs for the device, is not
            installed.
        ValueError: If there is no such device, or the runtime cannot read the
            file; from ``run``, if it cannot run it.
    """
    suffix = osp.splitext(file)[1].lower()
    if suffix not in BACKENDS:
        raise ValueError(f'{file} is not a file of `lgm-pose export`: its '
                         f'name does not end in {" or ".join(BACKENDS)}')
    name, _, number = device.partition(':')
    backend = backend or ('openvino'
                          if name == 'openvino' else BACKENDS[suffix][0])
    if backend not in BACKENDS[suffix]:
        raise ValueError(f'{file} is run by {" or ".join(BACKENDS[suffix])}, '
                         f'not by {backend!r}')
    if not (device in PROVIDERS or name in GPUS and number.isdecimal()
            if backend == 'onnxruntime' else device == 'cpu'
            or name == backend == 'openvino'):
        raise ValueError(
            f'{backend} has no device {device!r}: ONNX Runtime has '
            f'{", ".join(PROVIDERS)}; OpenVINO cpu and, as openvino:GPU, '
            'those of its own; LiteRT and ncnn cpu')
    if threads < 1:
        raise ValueError(f'threads must be at least 1, got {threads}')
    stem = osp.splitext(file)[0]
    for part in (file, *(stem + part for part in PARTS[suffix])):
        if not osp.isfile(part):
            raise FileNotFoundError(f'there is no file {part}')
    opener = dict(
        onnxruntime=_open_onnxruntime,
        openvino=_open_openvino,
        litert=_open_litert,
        ncnn=_open_ncnn)
    try:
        session = opener[backend](file, threads, device)
    except ImportError:
        raise
    # Runtimes raise whatever a broken file leads them to.
    except Exception as error:
        raise ValueError(
            f'{backend} cannot read {file}: {str(error)[:400]}') from error

    def run(inputs: Inputs) -> Outputs:
        try:
            return session.run(inputs)
        # Of inputs that do not fit, and of memory. ONNX Runtime's are bare
        # exceptions.
        except Exception as error:
            raise ValueError(
                f'{backend} cannot run {file}: {str(error)[:400]}') from error

    return session._replace(run=run)


def run_once(file: str, inputs: str) -> None:
    """Run a file once.

    Args:
        file (str): An .onnx or .xml file.
        inputs (str): A .npy file of inputs it takes.

    Raises:
        ValueError: If the file does not run.
    """
    open_session(file).run(np.load(inputs))


def _open_onnxruntime(file: str, threads: int, device: str) -> Session:
    import onnxruntime
    name, _, number = device.partition(':')
    provider, package = PROVIDERS[name]
    if provider not in onnxruntime.get_available_providers():
        raise ImportError(f'device {name} needs {package} in place of the '
                          'onnxruntime that is installed')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait slow down whatever else is at work.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=[provider])
    # It goes on without what it cannot load.
    if provider not in session.get_providers():
        raise ImportError(
            f'onnxruntime cannot start device {device}; are the driver and '
            f'the libraries there that {package} needs?')
    entry = session.get_inputs()[0]
    names = [output.name for output in session.get_outputs()]
    metadata = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    shapes = {
        # Sizes that are left open have a name.
        one.name:
        tuple(size if isinstance(size, int) else None for size in one.shape)
        for one in (entry, *session.get_outputs())
    }
    shape = shapes.pop(entry.name)

    def run(inputs: Inputs) -> Outputs:
        feeds = inputs if isinstance(inputs, dict) else {entry.name: inputs}
        return dict(zip(names, session.run(names, feeds)))

    return Session(metadata, shape, shapes, run)


@functools.lru_cache(maxsize=None)
def openvino_core() -> Any:
    """Give all users in the process the same OpenVINO, which is never closed.

    Each ``openvino.Core`` gives its thread another stack for signal handlers.
    If two are closed in the order in which they were opened, OpenVINO 2026.4.1
    leaves the thread with one that was freed, and the next signal that Python
    handles kills the process: SIGCHLD after torch has loaded data in workers.

    Returns:
        openvino.Core: The core.
    """
    import openvino
    return openvino.Core()


def _open_openvino(file: str, threads: int, device: str) -> Session:
    import openvino
    core = openvino_core()
    device = device.rpartition(':')[2].upper()
    if device.partition('.')[0] not in {
            name.partition('.')[0]
            for name in core.available_devices
    }:
        raise ImportError(f'OpenVINO finds no device {device} here, only '
                          f'{", ".join(core.available_devices)}; is its '
                          'driver installed?')
    model = core.read_model(file)
    if model.has_rt_info([BIN_KEY]):
        wanted = model.get_rt_info([BIN_KEY]).astype(str)
        if file_hash(file[:-4] + '.bin') != wanted:
            raise ValueError(f'{file[:-4]}.bin is not the file that it was '
                             'exported with; copy or export both again')
    size = model.input(0).get_partial_shape()[0]
    if size.is_static:
        _check_batch(size.get_length())
    metadata = None
    # The latter is where OpenVINO puts an ONNX file's.
    for path in ([METADATA_KEY], ['framework', METADATA_KEY]):
        if model.has_rt_info(path):
            metadata = model.get_rt_info(path).astype(str)
    options: Dict[str, Any] = {'INFERENCE_PRECISION_HINT': 'f32'}
    if device == 'CPU':
        options.update(INFERENCE_NUM_THREADS=threads, NUM_STREAMS=1)
    network = core.compile_model(model, device, options)
    # An output may have further names, of operators that were optimized away.
    names = [output.names for output in network.outputs]
    shape = network.input(0).get_partial_shape()
    dtype = network.input(0).get_element_type().to_dtype()
    request = network.create_infer_request()
    # Its inputs and outputs are the same for all threads.
    lock = threading.Lock()

    def run(inputs: Inputs) -> Outputs:
        if isinstance(inputs, np.ndarray):
            # With others OpenVINO computes nonsense or crashes.
            if inputs.dtype != dtype or not shape.compatible(
                    openvino.PartialShape(inputs.shape)):
                raise ValueError(f'the network takes {dtype} of shape {shape}'
                                 f', got {inputs.dtype} of {inputs.shape}')
        outputs = {}
        with lock:
            request.infer(
                [inputs] if isinstance(inputs, np.ndarray) else inputs)
            for i, aliases in enumerate(names):
                data = request.get_output_tensor(i).data.copy()
                outputs.update(dict.fromkeys(aliases, data))
        return outputs

    shapes = {
        name: _openvino_shape(output.get_partial_shape())
        for output in network.outputs
        for name in output.names
    }
    return Session(metadata, _openvino_shape(shape), shapes, run)


def _check_batch(size: int) -> None:
    """Refuse a batch with which compiling would fill the memory."""
    if not 0 < size <= MAX_BATCH:
        raise ValueError(
            f'it takes {size} crops at once; 1 to {MAX_BATCH} are '
            'possible. Export it again')


def _openvino_shape(shape: Any) -> Shape:
    if shape.rank.is_dynamic:
        return ()
    return tuple(size.get_length() if size.is_static else None
                 for size in shape)


def _open_litert(file: str, threads: int, device: str) -> Session:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter
    with open(file, 'rb') as opened:
        content = opened.read()
    # Which looks for damage first.
    interpreter = Interpreter(model_content=content, num_threads=threads)
    entry, = interpreter.get_input_details()
    shape = tuple(map(int, entry['shape']))
    _check_batch(shape[0])
    metadata, model = None, schema.Model.GetRootAs(content)
    for i in range(model.MetadataLength()):
        one = model.Metadata(i)
        if one.Name() == METADATA_KEY.encode():
            data = model.Buffers(one.Buffer()).DataAsNumpy()
            metadata = data.tobytes().decode()
    interpreter.allocate_tensors()
    outputs = interpreter.get_output_details()
    lock = threading.Lock()

    def run(inputs: Inputs) -> Outputs:
        if isinstance(inputs, dict):
            inputs = inputs[entry['name']]
        with lock:
            interpreter.set_tensor(entry['index'], inputs)
            interpreter.invoke()
            return {
                one['name']: interpreter.get_tensor(one['index'])
                for one in outputs
            }

    shapes: Dict[str, Shape] = {
        one['name']: tuple(map(int, one['shape']))
        for one in outputs
    }
    return Session(metadata, shape, shapes, run)


def _open_ncnn(file: str, threads: int, device: str) -> Session:
    import ncnn
    stem = osp.splitext(file)[0]
    with open(stem + '.json', encoding='utf-8') as opened:
        metadata = opened.read()
    for suffix, wanted in json.loads(metadata)[HASHES_KEY].items():
        if suffix in ('.param', '.bin') and file_hash(stem + suffix) != wanted:
            raise ValueError(f'{stem}{suffix} is not the file that it was '
                             'exported with; copy or export all three again')
    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in ('fp16_packed', 'fp16_storage', 'fp16_arithmetic',
                 'bf16_storage'):
        setattr(net.opt, f'use_{name}', False)
    if net.load_param(file) or net.load_model(stem + '.bin'):
        raise ValueError('it is damaged')
    (name, ), names = net.input_names(), net.output_names()

    def run(inputs: Inputs) -> Outputs:
        crop = inputs[name] if isinstance(inputs, dict) else inputs
        if crop.shape[0] != 1 or crop.ndim != 4:
            raise ValueError(f'it takes one crop, got {crop.shape}')
        if crop.dtype == np.uint8:  # what Mat::from_pixels does
            crop = crop.transpose(0, 3, 1, 2)
        # ncnn reads the memory of the array.
        crop = np.ascontiguousarray(crop[0], np.float32)
        extractor = net.create_extractor()
        outputs = {}
        if extractor.input(name, ncnn.Mat(crop)):
            raise ValueError(f'it does not take {crop.shape}')
        for one in names:
            failed, value = extractor.extract(one)
            if failed:
                raise ValueError(f'it does not compute {one}')
            outputs[one] = np.array(value)[None]
        return outputs

    return Session(metadata, (1, None, None, None), dict.fromkeys(names, ()),
                   run)


def file_hash(file: str) -> str:
    """Compute the SHA-256 of a file.

    Args:
        file (str): The file.

    Returns:
        str: 64 hexadecimal digits.
    """
    with open(file, 'rb') as opened:
        return hashlib.sha256(opened.read()).hexdigest()
