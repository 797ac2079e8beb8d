"""Build the networks of configs, with random weights or a checkpoint's."""
import copy
import os.path as osp
from typing import Any, Dict, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.infer import BaseInferencer
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import set_random_seed
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmpose.models import TopdownPoseEstimator, build_pose_estimator
from torch import Tensor, nn

from lgm_pose_plugin.checkpoint.loading import load_checkpoint
from lgm_pose_plugin.model_index import (NETWORKS, PACKAGE,
                                         load_model_from_index)
from lgm_pose_plugin.utils.errors import explain_errors


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
    if osp.isfile(path):
        with explain_errors(f'{path} cannot be read as a config'):
            cfg = Config.fromfile(path)
    else:
        cfg, _ = load_model_from_index(name) or (None, None)
    if cfg is None:
        raise ValueError(
            f"there is no config {name!r}; give a path, 'mmpose::"
            f"body_2d_keypoint/...py', a model of `mim search {PACKAGE}` or "
            f'one of {", ".join(NETWORKS)}')
    with explain_errors(
            f'{cfg.filename} does not take the options {cfg_options}'):
        cfg.merge_from_dict(cfg_options or {})
    return cfg


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
            file is not a checkpoint, belongs to another network, is not safe
            to load or is not finite.
    """
    parts = copy.deepcopy(cfg.get('model', {}))
    for part in parts.values():
        if isinstance(part, dict) and 'Pretrained' in str(
                part.get('init_cfg')):
            del part['init_cfg']
    if checkpoint is None:
        set_random_seed(seed)
    with explain_errors(f'the network of {cfg.filename} cannot be built'):
        model = 'type' in parts and build_pose_estimator(parts)
    if not isinstance(model, TopdownPoseEstimator):
        raise ValueError(f'{cfg.filename} does not define a top-down network')
    if checkpoint is None:
        model.init_weights()
    else:
        loaded = load_checkpoint(checkpoint)
        with explain_errors(
                f'{checkpoint} is not a checkpoint of {cfg.filename}'):
            _load_checkpoint_to_model(model, loaded, True, 'current')
    return revert_sync_batchnorm(model).eval()


def choose_device(name: Optional[str] = None) -> str:
    """Choose the device of a network.

    Args:
        name (str, optional): As ``'cuda:0'``. Defaults to a GPU if there is
            one.

    Returns:
        str: The device.

    Raises:
        ValueError: If torch cannot use it.
    """
    device = str(name or get_device())
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'the device {device} cannot be used: '
                         f'{str(error).splitlines()[0]}') from error
    return device


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
    shapes = [tuple(getattr(output, 'shape', ())) for output in outputs]
    # A tracer sees tensors in place of the sizes.
    if torch.jit.is_tracing() or len({shape[:2] for shape in shapes}) == 1:
        dims = list(map(len, shapes))
        if set(dims) == {4}:
            return (outputs[-1], )
        if dims == [3, 3]:
            return tuple(outputs)
    raise ValueError(
        'the network must return heat maps (B, K, H, W) or SimCC vectors '
        f'(B, K, Wx), (B, K, Wy), not {shapes}, as regression and bottom-up '
        'networks do')
