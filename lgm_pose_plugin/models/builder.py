"""Build the networks of configs, with random weights or a checkpoint's."""
import os.path as osp
import textwrap
from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import set_random_seed
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmpose.models import TopdownPoseEstimator, build_pose_estimator
from torch import Tensor, nn

from lgm_pose_plugin.checkpoint.loading import load_checkpoint
from lgm_pose_plugin.model_index import (NETWORKS, PACKAGE,
                                         load_model_from_index)


def load_config(name: str,
                cfg_options: Optional[Dict[str, Any]] = None) -> Config:
    """Load a config.

    Args:
        name (str): A short name (a key of ``NETWORKS``), a path, a path
            inside a package's configs, as ``mmpose::body_2d_keypoint/...``, or
            a model of the plugin by name or alias.
        cfg_options (dict, optional): Options to change, as
            ``{'model.test_cfg.flip_test': False}``.

    Returns:
        Config: The config.

    Raises:
        ValueError: If there is no such config, it cannot be read, or the
            options do not fit it.
    """
    path = NETWORKS.get(name, name)
    scope, separator, inner = path.partition('::')
    # MMEngine's get_config would install packages that are missing.
    if separator and scope in ('mmdet', 'mmpose', PACKAGE):
        path = osp.join(
            BaseInferencer._get_repo_or_mim_dir(scope), 'configs', inner)
    if not osp.isfile(path):
        model = load_model_from_index(name)
        if model is None:
            raise ValueError(f'there is no config {name!r}; give a path, '
                             "'mmpose::body_2d_keypoint/...py', a model of "
                             f'`mim search {PACKAGE}` or one of '
                             f'{", ".join(NETWORKS)}')
        cfg = model[0]
    else:
        cfg = read_config(path)
    try:
        cfg.merge_from_dict(cfg_options or {})
    # As wrong as the options are, of many kinds.
    except Exception as error:
        raise ValueError(f'{cfg.filename} does not take the options '
                         f'{cfg_options} ({brief(error)})') from error
    return cfg


def read_config(path: str) -> Config:
    """Read a config's file.

    Args:
        path (str): Its path.

    Returns:
        Config: The config.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        return Config.fromfile(path)
    # A config is code and may raise anything.
    except Exception as error:
        raise ValueError(f'{path} is no config that can be read '
                         f'({brief(error)})') from error


def brief(error: Exception) -> str:
    """Tell what was raised in one line.

    Args:
        error (Exception): What was raised.

    Returns:
        str: Its type and at most some 400 letters of its text.
    """
    return textwrap.shorten(f'{type(error).__name__}: {error}', 400)


def build_model(cfg: Config,
                checkpoint: Optional[str] = None,
                seed: int = 0) -> nn.Module:
    """Build a config's network, in eval mode on the CPU.

    Args:
        cfg (Config): A top-down config.
        checkpoint (str, optional): Path or URL of the weights. Without it
            they are random: pretrained backbones are not loaded.
        seed (int): Seed of the random weights. Defaults to 0.

    Returns:
        nn.Module: The network.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the config is not top-down or cannot be built, or the
            checkpoint is none, of another network, not safe to load, or not
            finite.
    """
    model_cfg = _without_pretrained(cfg.get('model', {}))
    if checkpoint is None:
        set_random_seed(seed)
    try:
        model = (
            build_pose_estimator(model_cfg) if 'type' in model_cfg else None)
    # Whatever the modules raise of their options.
    except Exception as error:
        raise ValueError(f'the network of {cfg.filename} cannot be built: '
                         f'{brief(error)}') from error
    if not isinstance(model, TopdownPoseEstimator):
        raise ValueError(f'{cfg.filename} is no config of a top-down network')
    if checkpoint is None:
        model.init_weights()
    else:
        loaded = load_checkpoint(checkpoint)
        try:
            _load_checkpoint_to_model(model, loaded, True, 'current')
        # Broken weights raise whatever their shapes lead to.
        except Exception as error:
            raise ValueError(f'{checkpoint} is no checkpoint of '
                             f'{cfg.filename}: {brief(error)}') from error
    return revert_sync_batchnorm(model).eval()


def _without_pretrained(cfg: Any) -> Any:
    """A copy of a model's config without weights to download."""
    if isinstance(cfg, dict):
        return type(cfg)({
            key: _without_pretrained(value)
            for key, value in cfg.items() if not _is_pretrained(value)
        })
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(
            _without_pretrained(value) for value in cfg
            if not _is_pretrained(value))
    return cfg


def _is_pretrained(cfg: Any) -> bool:
    """Whether an initialization is by weights alone, maybe in a list."""
    if isinstance(cfg, (list, tuple)):
        return bool(cfg) and all(map(_is_pretrained, cfg))
    # In MMEngine's pure Python configs a class.
    kind = cfg.get('type') if isinstance(cfg, dict) else None
    return getattr(kind, '__name__', kind) in ('Pretrained', 'PretrainedInit')


def last_maps(outputs: Any) -> Tuple[Tensor, ...]:
    """Take what a codec decodes out of a network's outputs.

    Args:
        outputs (Any): What ``model(inputs, None, mode='tensor')`` returns.

    Returns:
        tuple[Tensor]: The heat maps of the last stage, of shape
        ``(B, K, H, W)``, or the pair of SimCC's vectors, of shapes
        ``(B, K, Wx)`` and ``(B, K, Wy)``.

    Raises:
        ValueError: If the outputs are neither.
    """
    if not isinstance(outputs, (list, tuple)):
        outputs = [outputs]
    if outputs and all(isinstance(output, Tensor) for output in outputs):
        dims = [output.dim() for output in outputs]
        # A tracer sees tensors in place of the sizes.
        if torch.jit.is_tracing() or len({o.shape[:2] for o in outputs}) == 1:
            if set(dims) == {4}:
                return (outputs[-1], )
            if dims == [3, 3]:
                return tuple(outputs)
    found = [
        tuple(o.shape) if isinstance(o, Tensor) else type(o).__name__
        for o in outputs
    ]
    raise ValueError(
        'the network must return heat maps (B, K, H, W) or SimCC vectors '
        f'(B, K, Wx), (B, K, Wy), not {found}, as regression and bottom-up '
        'networks do')
