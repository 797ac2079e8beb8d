"""Boxes of objects in images, by a detector of MMDetection."""
import textwrap
import warnings
from typing import Any, Dict, List, Optional

import numpy as np
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from mmpose.utils import adapt_mmdet_pipeline
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from lgm_pose_plugin.checkpoint.loading import load_checkpoint
from lgm_pose_plugin.runtime.detector_runtime import Detections
from lgm_pose_plugin.utils.errors import explain_errors
from .builder import choose_device, load_config


def load_detector_config(name: str,
                         cfg_options: Optional[Dict[str,
                                                    Any]] = None) -> Config:
    """Load a config of MMDetection.

    Args:
        name (str): A path, or ``mmdet::`` and a path inside MMDetection's
            configs, as ``mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py``.
        cfg_options (dict, optional): Options to change.

    Returns:
        Config: The config.

    Raises:
        ValueError: If there is no such config, it cannot be read, or it has
            no detector.
    """
    cfg = load_config(name, cfg_options)
    if 'test_dataloader' not in cfg or 'backbone' not in cfg.get('model', {}):
        raise ValueError(f'{name} is not a config of an MMDetection detector')
    return cfg


class DetectorModel:
    """A detector of MMDetection, called as
    :class:`~lgm_pose_plugin.runtime.DetectorRuntime` is.

    Args:
        config (str): See :func:`load_detector_config`.
        checkpoint (str, optional): Path or URL of its weights, ``None`` for
            random ones.
        device (str, optional): See :func:`~.builder.choose_device`.
        cfg_options (dict, optional): Options of the config.

    Attributes:
        model (nn.Module): The detector.
        classes (list[str]): Names of its classes; empty where neither
            checkpoint nor config names them.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If the config or checkpoint does not fit, or the device
            cannot be used.
    """

    def __init__(self,
                 config: str,
                 checkpoint: Optional[str],
                 device: Optional[str] = None,
                 cfg_options: Optional[Dict[str, Any]] = None):
        cfg = load_detector_config(config, cfg_options)
        device = choose_device(device)
        # It warns of COCO's classes, also where that is to be ignored, and
        # leaves its scope to all that follows.
        scope = cfg.get('default_scope', 'mmdet')
        if checkpoint is None:
            set_random_seed(0)
        with warnings.catch_warnings(
                record=True), DefaultScope.overwrite_default_scope(
                    scope), explain_errors(
                        f'the detector of {cfg.filename} cannot be built'):
            self.model: Any = init_detector(cfg, None, 'random', device)
        meta = {} if checkpoint is None else _load_weights(
            self.model, checkpoint, cfg.filename)
        self.classes = _class_names(cfg, meta)
        # With it, MMPose's default scope does.
        self.model.cfg = adapt_mmdet_pipeline(cfg)

    def __call__(self, image: np.ndarray) -> Detections:
        """Find the objects in an image.

        Args:
            image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.

        Returns:
            tuple[np.ndarray, np.ndarray, np.ndarray]: Boxes (left, top,
            right, bottom) in pixels, of shape ``(M, 4)``, scores and labels,
            both of shape ``(M, )``.
        """
        result = inference_detector(self.model, image)
        found = result.pred_instances.cpu().numpy()
        return found.bboxes, found.scores, found.labels


def _load_weights(model: nn.Module, checkpoint: str,
                  config: str) -> Dict[str, Any]:
    """Load a checkpoint, which has to fill the model; return its ``meta``."""
    loaded = load_checkpoint(checkpoint)
    weights = loaded['state_dict']
    consume_prefix_in_state_dict_if_present(weights, 'module.')
    try:
        missing = model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} is not a checkpoint of {config}: ' +
                         textwrap.shorten(str(error), 400)) from error
    missing = [key for key in missing if 'num_batches_tracked' not in key]
    if missing:
        raise ValueError(
            f'{checkpoint} is not a checkpoint of {config}: it has no '
            f'{missing[0]}, nor {len(missing) - 1} others')
    return dict(loaded['meta'])


def _class_names(cfg: Config, meta: Dict[str, Any]) -> List[str]:
    """Names of a detector's classes, from its checkpoint or config."""
    dataset = cfg.test_dataloader.dataset
    known = getattr(DATASETS.get(dataset.type), 'METAINFO', {})
    told: Any
    for told in (meta.get('dataset_meta'), meta, dataset.get('metainfo'),
                 known):
        # As mmdet 2 and 3 wrote it; it may be from anywhere.
        for key in ('classes', 'CLASSES') if isinstance(told, dict) else ():
            names = told.get(key)
            if names and isinstance(names, (list, str, tuple)):
                return [names] if isinstance(names, str) else list(names)
    return []
