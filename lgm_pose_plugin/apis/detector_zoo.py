"""Person detectors of OpenMMLab's model zoos: weights and where they are kept.

Needs neither torch nor OpenMMLab for models that were exported before.
"""
import os
import os.path as osp
import re
import sys
from importlib.util import find_spec
from typing import Tuple

from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.download import download
from lgm_pose_plugin.utils.files import replacing

# MMPose's default detector of people: its config inside MMPose, its weights.
AUTO = 'auto'
AUTO_CONFIG = ('.mim', 'demo', 'mmdetection_cfg',
               'rtmdet_m_640-8xb32_coco-person.py')
AUTO_URL = ('https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/'
            'rtmdet_m_8xb32-100e_coco-obj365-person-235e8209.pth')
TIMEOUT = 10  # seconds, since without a network there is another way


def cached_detector(name: str) -> str:
    """Name the file that a model of the zoo is exported to.

    Args:
        name (str): ``'auto'`` or the name of a model, as ``'rtmdet-m'``.

    Returns:
        str: An ONNX file in the user's cache folder, ``XDG_CACHE_HOME`` or
        ``~/.cache``, which need not exist.

    Raises:
        ValueError: If it cannot be such a name.
    """
    if not re.fullmatch(r'[\w.-]+', name) or name.endswith('.py'):
        raise ValueError(
            f'the detector {name} is neither a file of `lgm-pose export` '
            '(.onnx or .xml) nor a model of MMDetection; a config needs a '
            'checkpoint')
    root = os.environ.get('XDG_CACHE_HOME') or osp.expanduser('~/.cache')
    return osp.join(root, 'lgm_pose_plugin', name.lower() + '.onnx')


def zoo_weights(name: str) -> Tuple[str, str]:
    """Give config and weights of a model; the weights are downloaded once.

    Args:
        name (str): See :func:`cached_detector`.

    Returns:
        tuple[str, str]: Paths of the config and of the weights in the cache.

    Raises:
        FileNotFoundError: If the weights cannot be downloaded.
        ImportError: If MMPose, MMDetection or onnx is not installed.
        ValueError: If MMDetection has no such model with weights.
    """
    places = {}
    # Before the download, what the export needs.
    for package in ('mmdet', 'mmpose', 'onnx'):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ImportError(
                f'{package} is not installed; to export a detector once, '
                'install MMPose, MMDetection and lgm_pose_plugin[export]')
        places[package] = osp.dirname(spec.origin)
    if name == AUTO:
        config, url = osp.join(places['mmpose'], *AUTO_CONFIG), AUTO_URL
        if not osp.isfile(config):
            raise ImportError('MMPose is older than 1.3, which brings the '
                              "detector's config")
    else:
        from lgm_pose_plugin.model_index import find_model
        model = find_model(name, 'mmdet')
        if not (model and model['Weights']):
            raise ValueError(f'{name} is not a model of MMDetection with '
                             'weights; `mim search mmdet` lists them')
        config, url = model['Config'], model['Weights']
    path = osp.join(osp.dirname(cached_detector(name)), osp.basename(url))
    if not osp.isfile(path):
        with replacing(path) as temporary:
            download(url, temporary, TIMEOUT)
    return config, path


def export_once(name: str) -> str:
    """Export a detector of the zoo, unless that was done before.

    Args:
        name (str): See :func:`cached_detector`.

    Returns:
        str: The exported file.

    Raises:
        FileNotFoundError: If its weights cannot be downloaded.
        ImportError: If a package that this needs is missing.
        ValueError: If there is no such model, or it cannot be exported.
    """
    file = cached_detector(name)
    if not osp.isfile(file):
        config, weights = zoo_weights(name)
        print(f'exporting {weights} to {file}', file=sys.stderr)
        os.makedirs(osp.dirname(file), exist_ok=True)
        set_up_mmpose()
        from lgm_pose_plugin.export.detector import export_detector
        export_detector(config, weights, file, samples=4)
    return file
