"""Model names: make MMPose's inferencers find the plugin's models."""
import functools
import os.path as osp
from typing import Any, Iterator, NoReturn, Optional, Tuple

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.infer import BaseInferencer
from mmengine.runner.checkpoint import CheckpointLoader

_PACKAGE = __package__
# Stands for weights that there are not: MMEngine asks for them by name before
# it looks whether the user gave others.
_UNPUBLISHED = 'lgm-pose-unpublished:'


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


def _find_model(name: str) -> Optional[dict]:
    """The entry of a model, by its name or alias."""
    for model in iter_models():
        aliases = model.get('Alias', [])
        aliases = [aliases] if isinstance(aliases, str) else aliases
        if name.lower() in [a.lower() for a in (model['Name'], *aliases)]:
            return model
    return None


def load_model_from_index(name: str) -> Optional[Tuple[Config, str]]:
    """Look a model up by its name or alias.

    Args:
        name (str): Name or alias, in any case.

    Returns:
        tuple[Config, str], optional: Config and path or URL of the weights;
        ``None`` if the plugin has no model of that name. If the model has no
        weights, MMEngine ends with an error that says so once it loads them.
    """
    model = _find_model(name)
    if model is None:
        return None
    weights = model['Weights'] or f'{_UNPUBLISHED}{model["Name"]}'
    return Config.fromfile(model['Config']), weights


def published_weights(name: str) -> str:
    """Path or URL of a model's weights.

    Args:
        name (str): See :func:`load_model_from_index`.

    Returns:
        str: The path or URL.

    Raises:
        ValueError: If the model has none, or there is no such model.
    """
    weights = (_find_model(name) or {}).get('Weights')
    if not weights:
        raise ValueError(f'{name!r} is no model with published weights; give '
                         'a checkpoint')
    return weights


@CheckpointLoader.register_scheme(prefixes=_UNPUBLISHED, force=True)
def load_from_unpublished(filename: str, map_location: Any) -> NoReturn:
    """Tell that a model has no weights, a loader of MMEngine's.

    Args:
        filename (str): What :func:`load_model_from_index` gave.
        map_location (Any): Of no meaning.

    Raises:
        ValueError: Always.
    """
    name = filename[len(_UNPUBLISHED):]
    raise ValueError(f'{name} has no published weights. Train it and give '
                     f"your checkpoint as well: pose2d='{name}', "
                     "pose2d_weights='<checkpoint>.pth'")


def register_model_names() -> None:
    """Let MMPose's inferencers and ``_base_`` find the plugin's models.

    MMPose looks names up in its own index only. This puts the plugin's index
    before it and falls back to the original look-up. What a config takes from
    ``_base_ = 'lgm_pose_plugin::...'`` is built in MMPose's scope, where the
    modules are registered. Calling it twice changes nothing.
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

    get_cfg_path = Config._get_cfg_path

    @functools.wraps(get_cfg_path)
    def _get_cfg_path(cfg_path: str,
                      filename: str) -> Tuple[str, Optional[str]]:
        # MMEngine takes the package's name for the scope.
        path, scope = get_cfg_path(cfg_path, filename)
        return path, 'mmpose' if scope == _PACKAGE else scope

    Config._get_cfg_path = staticmethod(_get_cfg_path)
