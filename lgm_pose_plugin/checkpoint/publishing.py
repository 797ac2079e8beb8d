"""Write the weights of a checkpoint to a small file for release."""
import ast
import hashlib
import io
import re
from collections import OrderedDict
from datetime import date
from pathlib import Path
from typing import Optional, Union

import mmengine
import torch

from lgm_pose_plugin.utils.files import replacing
from lgm_pose_plugin.version import __version__
from .loading import load_checkpoint

# Settings of the machine that trained; of no use to those who load weights.
_MACHINE_SETTINGS = ('work_dir', 'load_from', 'resume')
_ABSOLUTE_PATH = re.compile(r'(/|~|\\\\|file:|[A-Za-z]:[\\/])')


def _portable_config(text: str) -> Optional[str]:
    """Take what tells of the training machine out of a config's text.

    The text is parsed, not run: it comes from a file.
    """
    try:
        # As Python counts lines, so without the other breaks of str.
        lines = text.encode().splitlines(keepends=True)
        for statement in reversed(ast.parse(text).body):
            if isinstance(statement, ast.Assign) and getattr(
                    statement.targets[0], 'id', None) in _MACHINE_SETTINGS:
                del lines[statement.lineno - 1:statement.end_lineno]
        text = b''.join(lines).decode()
        names = {
            ast.get_source_segment(text, node): node.value
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            and _ABSOLUTE_PATH.match(node.value)
        }
    # The latter of texts made to break it.
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    for literal, path in names.items():
        name = re.split(r'[\\/]', path.rstrip('\\/'))[-1]
        text = text.replace(literal or path, repr(name))
    return text


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

    The file keeps the ``state_dict`` (with an ``EMAHook`` it holds the
    averaged weights) and, of ``meta``, the config's text, epoch, iteration,
    time and the versions. Optimizer, schedulers, logs, ``ema_state_dict`` and
    ``dataset_meta`` are dropped, so that ``torch.load(weights_only=True)``
    needs no allow-list. (``dataset_meta`` holds numpy arrays and is rebuilt
    from the config.) The config's text loses ``work_dir``, ``load_from`` and
    ``resume``, and absolute paths in it are cut to their last part. A text
    that is not Python is dropped.

    The file is named as OpenMMLab does, ``<name>-<sha8>_<YYYYMMDD>.pth``, with
    the start of its SHA-256. The same input gives the same bytes.

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
    import mmpose  # not above: MMEngine may be imported without it
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
