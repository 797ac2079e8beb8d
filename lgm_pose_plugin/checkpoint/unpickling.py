"""Read the pickles in MMEngine's checkpoints without running them."""
import pickle
from collections import Counter, OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, List, NoReturn, Tuple, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# What MMEngine and MMPose store: logs, counts, scores, colours, sigmas.
_DTYPES = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4',
           'f8')
_STATISTICS = ('min', 'max', 'current', 'mean')


def _refuse(what: str) -> NoReturn:
    raise pickle.UnpicklingError(
        f'{what} is not part of an MMEngine checkpoint; '
        'lgm_pose_plugin does not load it')


def _getattr(owner: Any, name: str) -> Callable:
    """Stand in for ``builtins.getattr``, which reaches every function.

    Protocol 2 writes ``HistoryBuffer.min`` as a call of ``getattr``.
    """
    if not (owner is HistoryBuffer or owner is _HistoryBuffer):
        _refuse(f'getattr of {owner!r}')
    if name not in _STATISTICS:
        _refuse(f'getattr of {name!r}')
    return getattr(HistoryBuffer, name)


def _dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype:
    """Stand in for ``numpy.dtype``: plain numbers in native byte order.

    A pickle sets a dtype's state after making it, and numpy trusts that
    state: wrong flags or fields turn bytes into object pointers. For
    numpy's shared instances ``dtype.__setstate__`` does nothing, so return
    the shared one, whatever ``copy`` says. The price: arrays in foreign byte
    order, which MMEngine does not write, would be read as native ones.
    """
    if code not in _DTYPES:
        _refuse(f'dtype {code!r}')
    return np.dtype(code)


def _shared(dtype: np.dtype) -> np.dtype:
    """Check a dtype which code other than ours may have let in."""
    if not isinstance(dtype, np.dtype) or dtype != _dtype(dtype.str[1:]):
        _refuse(f'dtype {dtype!r}')
    return _dtype(dtype.str[1:])


class _Array(np.ndarray):
    """An array which can be filled from a pickle once, with plain numbers.

    numpy's own ``__setstate__`` frees the array's old memory even while a
    tensor made from the array shares it. Pickled again, it is an ordinary
    array.
    """

    def __new__(cls, *args):
        # numpy.ndarray(shape, dtype, buffer) makes such a share, too.
        _refuse('a call of numpy.ndarray')

    def __setstate__(self, state):
        if self.size:
            _refuse('an array that is filled twice')
        _, shape, dtype, fortran, data = state
        if type(data) is not bytes:
            _refuse(f'array data of {type(data)}')
        super().__setstate__((1, shape, _shared(dtype), bool(fortran), data))

    def __reduce__(self):
        return self.view(np.ndarray).__reduce__()

    def __reduce_ex__(self, protocol):
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _reconstruct(subtype: type, shape: Tuple[int], dtype: bytes) -> _Array:
    """Stand in for numpy's ``_reconstruct``, called as numpy calls it."""
    if subtype not in (_Array, np.ndarray) or shape != (0, ) or dtype != b'b':
        _refuse(f'an array of {subtype!r}, {shape!r}, {dtype!r}')
    return np.ndarray.__new__(_Array, (0, ), 'b')


def _scalar(dtype: np.dtype, data: bytes) -> np.generic:
    """Stand in for numpy's ``scalar``: never of objects."""
    plain = _shared(dtype)
    if type(data) is not bytes or len(data) != plain.itemsize:
        _refuse(f'a numpy scalar of {type(data)}')
    return np.frombuffer(data, plain)[0]


def _bytes() -> bytes:
    """Stand in for ``bytes``, which protocol 2 calls for an empty array."""
    return b''


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``codecs.encode``, by which protocol 2 writes bytes."""
    if type(text) is not str or encoding != 'latin1':
        _refuse(f'encoding as {encoding!r}')
    return text.encode('latin1')


class _HistoryBuffer(HistoryBuffer):
    """Stand in for ``HistoryBuffer``, which takes any pickled state.

    ``HistoryBuffer.__setstate__`` puts what the file says into the
    statistics methods of the class, and so of all buffers of the process.
    Filled from a pickle, this one becomes an ordinary ``HistoryBuffer``.
    """

    def __init__(self, *args):
        _refuse('a call of HistoryBuffer')

    def __setstate__(self, state):
        self._set_default_statistics()
        for name, method in state.pop('statistics_methods', {}).items():
            # `register_statistics` may have added to the defaults.
            if self._statistics_methods.get(name) is not method:
                _refuse(f'the statistics method {name!r}')
        logs, counts = state['_log_history'], state['_count_history']
        if not (isinstance(logs, np.ndarray) and isinstance(
                counts, np.ndarray) and logs.shape == counts.shape
                and type(state['max_length']) is int and len(state) == 3):
            _refuse('a HistoryBuffer with such a state')
        self._log_history = logs.view(np.ndarray)
        self._count_history = counts.view(np.ndarray)
        self.max_length = state['max_length']
        self.__class__ = HistoryBuffer


def _stand_ins() -> List[Any]:
    """What MMEngine stores: stand-ins and the names pickles give them."""
    allowed = [(_getattr, 'builtins.getattr'), (_bytes, 'builtins.bytes'),
               (_dtype, 'numpy.dtype'), (_Array, 'numpy.ndarray'),
               (_HistoryBuffer,
                'mmengine.logging.history_buffer.HistoryBuffer')]
    # numpy 2 reads what numpy 1 wrote and the other way round.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(_reconstruct, f'{module}._reconstruct'),
                    (_scalar, f'{module}.scalar')]
    return allowed


def _has_safe_loading() -> bool:
    """Whether ``weights_only=True`` of this torch is to be relied on.

    Before 2.6 it passed TorchScript archives on to a loader that is not safe
    (CVE-2025-32434), and no type could be added to what it reads.
    """
    # Not a comparison of versions: 2.6.0a0+nv25.01 refuses as 2.6.0 does.
    return tuple(int(n) for n in torch.__version__.split('.')[:2]) >= (2, 6)


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints.

    torch 2.6 and later refuses them by default, because they hold
    ``HistoryBuffer`` objects and numpy values. Testing, resuming and inference
    then fail. This function allows exactly what MMEngine stores, and
    ``weights_only`` stays on. Where a real function would let a hostile file
    do more, a stand-in takes its place.

    It runs once MMEngine is imported. Calling it again changes nothing. It
    leaves older torch alone, which does not refuse.

    Loaded arrays are of a subclass of ``numpy.ndarray`` and pickle as
    ordinary ones. A statistics method that was added to ``HistoryBuffer``
    must be allowed with ``torch.serialization.add_safe_globals`` by the code
    that registered it.
    """
    if not _has_safe_loading():
        return
    allowed = _stand_ins()
    # torch must know an object's type to set its state. A pickle cannot spell
    # a name without a dot, so it cannot ask for these classes themselves.
    built = [type(np.dtype(code)) for code in _DTYPES] + [_Array]
    allowed += [(built_type, built_type.__name__) for built_type in built]
    torch.serialization.add_safe_globals(allowed)


_PythonUnpickler: Any = pickle._Unpickler  # its methods have no types


class _Unpickler(_PythonUnpickler):
    """Pickle's, which names and changes only what a checkpoint may hold.

    For torch < 2.6. What torch >= 2.6 does by ``weights_only=True`` and the
    allow-list, this does by the same stand-ins: no other name is looked up,
    so nothing else is called, and only objects of these types get a state.
    """
    dispatch = dict(_PythonUnpickler.dispatch)
    known = {
        '_codecs.encode': _encode,
        'collections.Counter': Counter,  # of a scheduler's milestones
        'collections.OrderedDict': OrderedDict,
        'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
        'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
        # Protocol 2 of Python 3 writes the names of Python 2.
        **{
            name.replace('builtins.', prefix): stand_in
            for stand_in, name in _stand_ins()
            for prefix in ('builtins.', '__builtin__.')
        }
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up; see the base class."""
        if f'{module}.{name}' not in self.known:
            _refuse(f'GLOBAL {module}.{name}')
        return self.known[f'{module}.{name}']

    def load_build(self) -> None:
        """Give an object its state; see the base class."""
        owner = self.stack[-2]
        if type(owner) not in (OrderedDict, _Array, _HistoryBuffer) and (
                not isinstance(owner, np.dtype)):
            _refuse(f'a state for {type(owner)}')
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def load_pickles(path: Union[str, Path]) -> Any:
    """Load a file of ``torch.save``; whatever it holds, no code in it runs.

    Args:
        path (str | Path): The file; on torch < 2.6 in the format of
            torch >= 1.6.

    Returns:
        Any: What was saved.

    Raises:
        Exception: Whatever a broken file leads torch to;
            ``pickle.UnpicklingError`` if it holds more than MMEngine stores.
    """
    if _has_safe_loading():
        allow_mmengine_checkpoints()
        return torch.load(str(path), map_location='cpu', weights_only=True)
    # Not torch.load: 1.13 takes pickle whatever its pickle_module is, and all
    # of them hand TorchScript archives to another loader.
    with open(str(path), 'rb') as file:
        return torch.serialization._load(
            torch._C.PyTorchFileReader(file),
            'cpu',
            SimpleNamespace(Unpickler=_Unpickler),
            encoding='utf-8')


allow_mmengine_checkpoints()
