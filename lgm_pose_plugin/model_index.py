"""Model names: make MMPose's inferencers find the plugin's models."""
import os.path as osp
from typing import Any, Iterator, NoReturn, Optional, Tuple

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.infer import BaseInferencer
from mmengine.runner.checkpoint import CheckpointLoader

PACKAGE = 'lgm_pose_plugin'
_OURS = PACKAGE + '::body_2d_keypoint/topdown_heatmap/'
_SIMCC = PACKAGE + '::body_2d_keypoint/simcc/'
_HEATMAP = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
_RTMPOSE = 'mmpose::body_2d_keypoint/rtmpose/coco/'
# Configs by short name, for the commands.
NETWORKS = {
    'lgm-pose': _OURS + 'coco/td-hm_lgm-pose_1xb32-260e_coco-256x192.py',
    'lgm-pose-l': _OURS + 'coco/td-hm_lgm-pose-l_1xb32-260e_coco-256x192.py',
    'lgm-pose-b': _OURS + 'coco/td-hm_lgm-pose-b_1xb32-260e_coco-256x192.py',
    'lgm-pose-fast':
    _OURS + 'coco/td-hm_lgm-pose-fast_8xb64-210e_coco-256x192.py',
    'lgm-pose-fast-simcc':
    _SIMCC + 'coco/simcc_lgm-pose-fast_8xb64-210e_coco-256x192.py',
    'lgm-pose-relu':
    _OURS + 'coco/td-hm_lgm-pose-relu_1xb32-260e_coco-256x192.py',
    'lgm-pose-hswish':
    _OURS + 'coco/td-hm_lgm-pose-hswish_1xb32-260e_coco-256x192.py',
    'lgm-pose-mobilevit':
    _OURS + 'ablation/td-hm_lgm-pose-mobilevit_1xb32-260e_mpii-256x256.py',
    'lapx': _OURS + 'coco/td-hm_lapx_8xb64-210e_coco-256x192.py',
    'lap': _OURS + 'coco/td-hm_lap_8xb64-210e_coco-256x192.py',
    'mobilenetv2': _HEATMAP + 'td-hm_mobilenetv2_8xb64-210e_coco-256x192.py',
    'shufflenetv2': _HEATMAP + 'td-hm_shufflenetv2_8xb64-210e_coco-256x192.py',
    'litehrnet-18': _HEATMAP + 'td-hm_litehrnet-18_8xb64-210e_coco-256x192.py',
    'litehrnet-30': _HEATMAP + 'td-hm_litehrnet-30_8xb64-210e_coco-256x192.py',
    'ditehrnet-18':
    _OURS + 'coco/td-hm_ditehrnet-18_8xb64-210e_coco-256x192.py',
    'ditehrnet-30':
    _OURS + 'coco/td-hm_ditehrnet-30_8xb64-210e_coco-256x192.py',
    'hfhrnet-18': _OURS + 'coco/td-hm_hfhrnet-18_8xb64-210e_coco-256x192.py',
    'small-hrnet-w16':
    _OURS + 'coco/td-hm_small-hrnet-w16_8xb64-210e_coco-256x192.py',
    'vipnas-mbv3': _HEATMAP + 'td-hm_vipnas-mbv3_8xb64-210e_coco-256x192.py',
    'simplebaseline-50': _HEATMAP + 'td-hm_res50_8xb64-210e_coco-256x192.py',
    'hrnet-w32': _HEATMAP + 'td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
    'rtmpose-t': _RTMPOSE + 'rtmpose-t_8xb256-420e_coco-256x192.py',
    'rtmpose-s': _RTMPOSE + 'rtmpose-s_8xb256-420e_coco-256x192.py',
}
# In place of missing weights: MMEngine asks for a name of weights before it
# looks whether the user gave others.
_UNPUBLISHED = 'lgm-pose-unpublished:'


def iter_models(package: str = PACKAGE) -> Iterator[dict]:
    """The models of a package's ``model-index.yml``.

    Args:
        package (str): The package. Defaults to the plugin.

    Yields:
        dict: One entry of a metafile. ``Config`` and a ``Weights`` that lies
        inside the package are absolute paths.
    """
    root = BaseInferencer._get_repo_or_mim_dir(package)
    for model in BaseInferencer._get_models_from_metafile(root):
        weights = model.get('Weights')
        if isinstance(weights, list):  # trackers of MMDetection
            continue
        if weights and '://' not in weights:
            weights = osp.join(root, weights)
        yield dict(
            model, Config=osp.join(root, model['Config']), Weights=weights)


def find_model(name: str, package: str = PACKAGE) -> Optional[dict]:
    """Find a model by its name or alias.

    Args:
        name (str): Name or alias, in any case.
        package (str): The package. Defaults to the plugin.

    Returns:
        dict, optional: See :func:`iter_models`.
    """
    for model in iter_models(package):
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
    model = find_model(name)
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
    weights = (find_model(name) or {}).get('Weights')
    if not weights:
        raise ValueError(f'{name!r} is not a model with published weights; '
                         'give a checkpoint')
    return weights


@CheckpointLoader.register_scheme(prefixes=_UNPUBLISHED, force=True)
def load_from_unpublished(filename: str, map_location: Any) -> NoReturn:
    """Report that a model has no weights, a loader of MMEngine's.

    Args:
        filename (str): What :func:`load_model_from_index` gave.
        map_location (Any): Not used.

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
    MODULE2PACKAGE[PACKAGE] = PACKAGE
    original = BaseInferencer._load_model_from_metafile
    if original.__module__ == __name__:
        return

    def _load_model_from_metafile(self: Any, model: str) -> Tuple[Config, str]:
        return load_model_from_index(model) or original(self, model)

    BaseInferencer._load_model_from_metafile = _load_model_from_metafile

    get_cfg_path = Config._get_cfg_path

    def _get_cfg_path(cfg_path: str,
                      filename: str) -> Tuple[str, Optional[str]]:
        # MMEngine takes the package's name for the scope.
        path, scope = get_cfg_path(cfg_path, filename)
        return path, 'mmpose' if scope == PACKAGE else scope

    Config._get_cfg_path = staticmethod(_get_cfg_path)


register_model_names()
