"""Model names: make MMPose's inferencers find the plugin's models."""
import functools
import os.path as osp
from typing import Iterator, Optional, Tuple

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.infer import BaseInferencer

_PACKAGE = __package__


def iter_models() -> Iterator[dict]:
    """The models of the plugin's ``model-index.yml``.

    Yields:
        dict: One entry of a metafile. ``Config`` and a ``Weights`` that lies
        inside the package are absolute paths.
    """
    root = BaseInferencer._get_repo_or_mim_dir(_PACKAGE)
    for model in BaseInferencer._get_models_from_metafile(root):
        weights = model.get('Weights')
        if weights and '://' not in weights:
            weights = osp.join(root, weights)
        yield dict(
            model, Config=osp.join(root, model['Config']), Weights=weights)


def load_model_from_index(name: str) -> Optional[Tuple[Config, str]]:
    """Look a model up by its name or alias.

    Args:
        name (str): Name or alias, in any case.

    Returns:
        tuple[Config, str], optional: Config and path or URL of the weights;
        ``None`` if the plugin has no model of that name.

    Raises:
        ValueError: If the model is known but has no weights.
    """
    for model in iter_models():
        aliases = model.get('Alias', [])
        aliases = [aliases] if isinstance(aliases, str) else aliases
        if name.lower() not in [a.lower() for a in (model['Name'], *aliases)]:
            continue
        if not model['Weights']:
            raise ValueError(
                f'{name} has no published weights. Train it and pass the '
                f"config's path and your checkpoint: pose2d="
                f"'{model['Config']}', pose2d_weights='<checkpoint>.pth'")
        return Config.fromfile(model['Config']), model['Weights']
    return None


def register_model_names() -> None:
    """Let MMPose's inferencers and ``_base_`` find the plugin's models.

    MMPose looks names up in its own index only. This puts the plugin's index
    before it and falls back to the original look-up. Calling it twice changes
    nothing.
    """
    MODULE2PACKAGE[_PACKAGE] = _PACKAGE
    original = BaseInferencer._load_model_from_metafile
    if getattr(original, 'knows_lgm_pose', False):
        return

    @functools.wraps(original)
    def _load_model_from_metafile(self, model: str) -> Tuple[Config, str]:
        return load_model_from_index(model) or original(self, model)

    _load_model_from_metafile.knows_lgm_pose = True
    BaseInferencer._load_model_from_metafile = _load_model_from_metafile
