"""Checkpoints: load them without running them, publish the weights."""
import pickle
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict, Union

import torch

from lgm_pose_plugin.utils.download import download
from .unpickling import load_pickles

# Bytes a weight may take by repeating fewer, as some buffers do.
_MAX_REPEATED = 1 << 24


def load_checkpoint(path: Union[str, Path]) -> Dict[str, Any]:
    """Load a checkpoint; whatever the file holds, no code in it runs.

    torch >= 2.6 loads it with ``weights_only=True``. On older torch this is
    not safe, and a reader of the plugin loads it. See SECURITY.md.

    Args:
        path (str | Path): A checkpoint that MMEngine saved, or plain weights;
            on torch < 2.6 in the format of torch >= 1.6. An ``http://`` or
            ``https://`` URL is downloaded, each time anew, and read as a
            file; stderr names it and its size.

    Returns:
        dict: The checkpoint, with the weights as ``state_dict``, all finite,
        and a dictionary as ``meta``.

    Raises:
        FileNotFoundError: If ``path`` is not a file, or nothing comes from
            the URL.
        ValueError: If it is not a checkpoint, is truncated, holds objects
            that are not safe to load, has no weights, or weights that are NaN
            or infinite; if it is a URL of another kind.
    """
    if '://' in str(path):
        # MMEngine and torch.hub would run what is in it, on any torch, and
        # take a file of the same name that they downloaded before.
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'checkpoint.pth')
            download(str(path), str(file))
            return _load_file(file, str(path))
    if not Path(path).is_file():
        raise FileNotFoundError(
            f'{path}: there is no such file; give the path of a checkpoint '
            'that MMEngine saved, e.g. work_dirs/NAME/epoch_210.pth')
    return _load_file(Path(path), str(path))


def _load_file(file: Path, origin: str) -> Dict[str, Any]:
    """Load a checkpoint's file; ``origin`` is what messages call it."""
    try:
        checkpoint = load_pickles(file)
    # Broken files raise whatever the bytes happen to lead to.
    except Exception as error:
        cause = (str(error).strip() or repr(error)).splitlines()[-1]
        # torch puts advice to load unsafely around it.
        found = re.search('WeightsUnpickler error: (.*?)( Please use|$)',
                          str(error), re.M)
        cause = found.group(1).strip() if found else cause
        refused = zipfile.is_zipfile(str(file)) or 'GLOBAL' in cause
        if refused and isinstance(error, pickle.UnpicklingError):
            raise ValueError(
                f'{origin}: refused, the file holds more than MMEngine stores '
                f'({cause}). Loading it could run code. If you trust its '
                'source, save its `state_dict` alone there') from error
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
            that a small file would take much.
    """
    for name, value in weights.items():
        if value.layout != torch.strided or value.device.type == 'meta':
            raise ValueError(f'{origin}: {name} is not a dense tensor; save '
                             'its `state_dict` anew')
        size = value.numel() * value.element_size()
        # torch < 2 has no untyped_storage.
        storage = getattr(value, 'untyped_storage', value.storage)()
        if size > max(storage.nbytes(), _MAX_REPEATED):
            raise ValueError(
                f'{origin}: refused, {name} of shape {tuple(value.shape)} '
                f'needs {size:,} bytes, and the file holds '
                f'{storage.nbytes():,} of them. Save its `state_dict` with '
                'contiguous tensors')
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(
                f'{origin}: {name} is not finite; the training that saved it '
                'had diverged. Take an earlier checkpoint')
