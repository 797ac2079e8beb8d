"""Checkpoints: load them without running them, publish the weights."""
import ast
import hashlib
import io
import pickle
import re
import shutil
import tempfile
import zipfile
from collections import Counter, OrderedDict
from datetime import date
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple, Union
from urllib.request import Request, urlopen

import mmengine
import numpy as np
import torch
from mmengine.logging import HistoryBuffer

import mmpose
from .outputs import replacing
from .version import __version__

__all__ = [
    'allow_mmengine_checkpoints', 'check_finite', 'load_checkpoint',
    'publish_checkpoint'
]

# What MMEngine and MMPose store: logs, counts, scores, colours, sigmas.
_DTYPES = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4',
           'f8')
_STATISTICS = ('min', 'max', 'current', 'mean')

_URL_TIMEOUT = 60  # seconds without an answer

# Bytes a weight may take by repeating fewer, as some buffers do.
_MAX_REPEATED = 1 << 24

# Settings of the machine that trained; of no use to those who load weights.
_MACHINE_SETTINGS = ('work_dir', 'load_from', 'resume')
_ABSOLUTE_PATH = re.compile(r'(/|~|\\\\|file:|[A-Za-z]:[\\/])')


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
    state: flags or fields that lie turn bytes into object pointers. For
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
    """Stand in for ``HistoryBuffer``, which believes its pickled state.

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


def _stand_ins() -> List[Tuple[Any, str]]:
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

    From torch 2.6 on ``torch.load`` refuses them by default, because they
    hold ``HistoryBuffer`` objects and numpy values: testing, resuming and
    inference fail. This allow-lists exactly what MMEngine stores, through
    stand-ins where the real function would let a hostile file do more, and
    ``weights_only`` stays on. Runs at the plugin's import; calling it again
    changes nothing. Older torch is left alone: it does not refuse.

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


def _portable_config(text: str) -> Optional[str]:
    """Take what tells of the training machine out of a config's text.

    The text is parsed, not run: it comes from a file.
    """
    try:
        tree = ast.parse(text)
        nodes = [list(ast.walk(statement)) for statement in tree.body]
    # The latter of texts made to break it.
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    # ast counts columns in bytes
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    edits = []
    for statement, parts in zip(tree.body, nodes):
        if isinstance(statement, ast.Assign) and getattr(
                statement.targets[0], 'id', None) in _MACHINE_SETTINGS:
            edits.append((starts[statement.lineno - 1],
                          starts[statement.end_lineno], b''))
            continue
        for node in parts:
            value = getattr(node, 'value', None)
            if isinstance(node, ast.Constant) and isinstance(
                    value, str) and _ABSOLUTE_PATH.match(value):
                name = re.split(r'[\\/]', value.rstrip('\\/'))[-1]
                edits.append(
                    (starts[node.lineno - 1] + node.col_offset,
                     starts[node.end_lineno - 1] + node.end_col_offset,
                     repr(name).encode()))
    data = b''.join(lines)
    for start, end, replacement in sorted(edits, reverse=True):
        data = data[:start] + replacement + data[end:]
    return data.decode()


class _Unpickler(pickle._Unpickler):
    """Pickle's, which names and changes only what a checkpoint may hold.

    For torch < 2.6. What torch >= 2.6 does by ``weights_only=True`` and the
    allow-list, this does by the same stand-ins: no other name is looked up,
    so nothing else is called, and only objects of these types get a state.
    """
    dispatch = dict(pickle._Unpickler.dispatch)
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


def _load_on_old_torch(path: Path) -> Any:
    """Load torch's zip file with :class:`_Unpickler`."""
    # Not torch.load: 1.13 takes pickle whatever its pickle_module is, and all
    # of them hand TorchScript archives to another loader.
    with open(path, 'rb') as file:
        return torch.serialization._load(
            torch._C.PyTorchFileReader(file),
            'cpu',
            SimpleNamespace(Unpickler=_Unpickler),
            encoding='utf-8')


def load_checkpoint(path: Union[str, Path]) -> Dict[str, Any]:
    """Load a checkpoint; whatever the file holds, no code in it runs.

    On torch >= 2.6 by ``weights_only=True``, on older torch, where that is
    not enough, by a reader of ours. See SECURITY.md.

    Args:
        path (str | Path): A checkpoint that MMEngine saved, or plain weights;
            on torch < 2.6 in the format of torch >= 1.6. An ``http://`` or
            ``https://`` URL is downloaded, each time anew, and read as a
            file.

    Returns:
        dict: The checkpoint, with the weights as ``state_dict``, all finite,
        and a dictionary as ``meta``.

    Raises:
        FileNotFoundError: If ``path`` is not a file, or nothing comes from
            the URL.
        ValueError: If it is not a checkpoint, is truncated, holds objects
            that are not safe to load, no weights, or weights that are NaN or
            infinite; if it is a URL of another kind.
    """
    if '://' in str(path):
        # MMEngine and torch.hub would run what is in it, on any torch, and
        # take a file of the same name that they downloaded before.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'checkpoint.pth')
            _download(str(path), file)
            return _load_file(file, str(path))
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'{path}: there is no such file; give the path of a checkpoint '
            'that MMEngine saved, e.g. work_dirs/NAME/epoch_210.pth')
    return _load_file(Path(path), str(path))


def _download(url: str, file: Path) -> None:
    """Write what an http(s) URL gives to a file."""
    if not url.lower().startswith(('http://', 'https://')):
        raise ValueError(
            f'{url}: only http:// and https:// are loaded; download it and '
            'give the path of the file')
    try:
        request = Request(url, headers={'User-Agent': __package__})
        with urlopen(request, timeout=_URL_TIMEOUT) as answer:
            with open(str(file), 'wb') as out:
                shutil.copyfileobj(answer, out)
    except (OSError, HTTPException, ValueError) as error:
        raise FileNotFoundError(
            f'{url}: cannot be downloaded ({error}). Check the address, or '
            'download it by other means and give the path of the file'
        ) from error


def _load_file(file: Path, origin: str) -> Dict[str, Any]:
    """Load a checkpoint's file; ``origin`` is what messages call it."""
    allow_mmengine_checkpoints()
    try:
        if _has_safe_loading():
            checkpoint = torch.load(
                str(file), map_location='cpu', weights_only=True)
        else:
            checkpoint = _load_on_old_torch(file)
    # Broken files raise whatever the bytes happen to lead to.
    except Exception as error:
        # torch puts advice to load unsafely around the cause.
        lines = [
            line for line in str(error).splitlines()
            if line.strip() and not line.startswith('Check the documentation')
        ]
        cause = (lines or [repr(error)])[-1]
        cause = cause.split('WeightsUnpickler error: ')[-1].strip()
        cause = cause.split(' Please use `torch')[0]
        refused = zipfile.is_zipfile(str(file)) or 'GLOBAL' in cause
        if refused and isinstance(error, pickle.UnpicklingError):
            raise ValueError(
                f'{origin}: refused, the file holds more than MMEngine stores '
                f'({cause}). Loading it otherwise could run code: if you '
                'trust where it comes from, save its `state_dict` alone '
                'there') from error
        raise ValueError(
            f'{origin}: not a checkpoint, or truncated ({cause}). Copy or '
            'download it again and compare the sizes') from error
    weights = checkpoint
    if isinstance(checkpoint, dict) and 'state_dict' in checkpoint:
        weights = checkpoint['state_dict']
    if not (isinstance(weights, dict) and weights and all(
            isinstance(name, str) and isinstance(value, torch.Tensor)
            for name, value in weights.items())):
        raise ValueError(
            f'{origin}: holds no `state_dict` of tensors; give a checkpoint '
            'that MMEngine saved, or weights alone')
    check_finite(weights, origin)
    meta = checkpoint.get('meta')
    return dict(
        {} if weights is checkpoint else checkpoint,
        meta=meta if isinstance(meta, dict) else {},
        state_dict=weights)


def check_finite(weights: Dict[str, torch.Tensor], origin: str) -> None:
    """Refuse weights that are NaN, infinite or more than was saved.

    Args:
        weights (dict[str, Tensor]): The weights by name.
        origin (str): Where they are from, for the message.

    Raises:
        ValueError: If one is not finite, or repeats a little memory so often
            that it takes much, as a small file can say.
    """
    for name, value in weights.items():
        if value.layout != torch.strided or value.device.type == 'meta':
            raise ValueError(f'{origin}: {name} is no dense tensor, as '
                             'weights are; save its `state_dict` anew')
        size = value.numel() * value.element_size()
        # torch < 2 has no untyped_storage.
        storage = getattr(value, 'untyped_storage', value.storage)()
        if size > max(storage.nbytes(), _MAX_REPEATED):
            raise ValueError(
                f'{origin}: {name}, {tuple(value.shape)}, would take '
                f'{size:,} bytes, of which {storage.nbytes():,} are there; '
                'refused. Save its `state_dict` with contiguous tensors')
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(
                f'{origin}: {name} is not finite; the training that saved it '
                'had diverged. Take an earlier checkpoint')


def _halved(name: str, value: torch.Tensor) -> torch.Tensor:
    """A weight with two or more axes as float16, anything else as it is."""
    if value.dim() < 2 or not value.is_floating_point():
        return value
    half = value.half()
    if not half.isfinite().all():
        raise ValueError(f'{name} has values up to {value.abs().max():.3g}, '
                         'which float16 cannot hold; publish without half')
    return half


def publish_checkpoint(path: Union[str, Path],
                       out: Optional[Union[str, Path]] = None,
                       half: bool = False) -> Path:
    """Write a checkpoint's weights to a file that loads everywhere.

    Of MMEngine's checkpoint the ``state_dict`` remains (with an ``EMAHook``
    it already holds the averaged weights) and of its ``meta`` the config's
    text, epoch, iteration, time and the versions. Optimizer, schedulers,
    logs, ``ema_state_dict`` and ``dataset_meta``, which holds numpy arrays
    and is rebuilt from the config, are dropped, so that
    ``torch.load(weights_only=True)`` needs no allow-list. The config's text
    loses ``work_dir``, ``load_from`` and ``resume``, and absolute paths in it
    are cut to their last part; a text that is not Python is dropped.

    The name is that of OpenMMLab, ``<name>-<sha8>_<YYYYMMDD>.pth`` with the
    start of the file's SHA-256. The same input gives the same bytes.

    Args:
        path (str | Path): A checkpoint that MMEngine saved.
        out (str | Path, optional): A file name ending in ``.pth``, to which
            hash and date are added, or a folder. Defaults to the folder of
            ``path``.
        half (bool): Whether the weights of convolutions and linear layers
            are stored as float16; networks of float32 load them. Defaults to
            ``False``.

    Returns:
        Path: The written file.

    Raises:
        FileNotFoundError: If ``path`` is not a file.
        ValueError: As :func:`load_checkpoint`; if ``half`` and a weight is
            too large for float16.

    Example:
        >>> publish_checkpoint('work_dirs/lgm/epoch_210.pth', 'lgm.pth')
        PosixPath('lgm-0a1b2c3d_20250131.pth')
    """
    path = Path(path)
    out = path.parent if out is None else Path(out)
    checkpoint = load_checkpoint(path)

    meta = checkpoint['meta']
    published = {
        key: meta[key]
        for key in ('epoch', 'iter', 'time', 'mmengine_version')
        if type(meta.get(key)) in (int, str)
    }
    published.setdefault('mmengine_version', mmengine.__version__)
    published['mmpose_version'] = mmpose.__version__
    published['lgm_pose_plugin_version'] = __version__
    cfg = meta.get('cfg')
    cfg = _portable_config(cfg) if isinstance(cfg, str) else None
    if cfg is not None:
        published['cfg'] = cfg

    weights = checkpoint['state_dict']
    if half:
        halved = [(name, _halved(name, value))
                  for name, value in weights.items()]
        # In place, since it also holds the versions of the layers.
        weights.update(halved)
    # In memory, because torch writes a file's name into the file.
    buffer = io.BytesIO()
    torch.save(OrderedDict(meta=published, state_dict=weights), buffer)
    data = buffer.getvalue()
    folder, stem = out, path.stem
    if out.suffix == '.pth':
        folder, stem = out.parent, out.stem
    sha = hashlib.sha256(data).hexdigest()[:8]
    target = folder / f'{stem}-{sha}_{date.today():%Y%m%d}.pth'
    with replacing(str(target)) as temporary:
        Path(temporary).write_bytes(data)
    return target
