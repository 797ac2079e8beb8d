"""Networks of the benchmark, for any input size, and their published AP."""
import os.path as osp
from glob import glob
from typing import Optional, Tuple

from mmengine.config import Config
from mmengine.fileio import load
from torch import nn

from lgm_pose_plugin.model_index import NETWORKS
from lgm_pose_plugin.models.builder import build_model, load_config


def build_network(name: str, input_size: Tuple[int, int]) -> nn.Module:
    """Build a network with random weights for any input size.

    Args:
        name (str): See :func:`load_config`. One of ``NETWORKS`` gets COCO's
            key points, whatever data set its config is for.
        input_size (tuple[int, int]): Height and width the network is built
            for, whatever its config says.

    Returns:
        nn.Module: See :func:`build_model`.

    Raises:
        ValueError: If there is no such config or it has no top-down network.
    """
    cfg = load_config(name)
    if 'model' in cfg:
        width, height = _input_size(cfg) or input_size[::-1]
        _rescale(cfg.model, (input_size[1] / width, input_size[0] / height))
        if name in NETWORKS:
            cfg.model.head.out_channels = 17
    return build_model(cfg)


def _input_size(cfg: Config) -> Optional[Tuple[int, int]]:
    """Width and height of a config's input, if its codec tells."""
    decoder = cfg.model.get('head', {}).get('decoder', {})
    return decoder.get('input_size')


def _rescale(cfg: dict, scale: Tuple[float, float]) -> None:
    """Scale the sizes (width, height) in a model's config."""
    for key, value in cfg.items():
        if key in ('input_size', 'heatmap_size', 'in_featuremap_size'):
            cfg[key] = tuple(round(a * b) for a, b in zip(value, scale))
        elif isinstance(value, dict):
            _rescale(value, scale)


def published_ap(name: str,
                 input_size: Tuple[int, int]) -> Tuple[Optional[float], str]:
    """Look up a network's COCO AP in the metafile beside its config.

    Args:
        name (str): See :func:`load_config`.
        input_size (tuple[int, int]): Height and width of the input; an AP of
            another size does not count.

    Returns:
        tuple[float | None, str]: AP in percent on COCO val2017, ``None`` if
        nothing is published, and where it stands: ``'metafile'`` for one of
        published weights, ``'paper'`` for a paper's that nobody reproduced.
    """
    cfg = load_config(name)
    if tuple(_input_size(cfg) or ()) != input_size[::-1]:
        return None, ''
    for file in glob(osp.join(osp.dirname(cfg.filename), '*.yml')):
        for model in load(file)['Models']:
            if osp.basename(model['Config']) != osp.basename(cfg.filename):
                continue
            for result in model.get('Results') or []:
                if result['Dataset'] == 'COCO' and 'AP' in result['Metrics']:
                    return round(100 * result['Metrics']['AP'], 2), 'metafile'
            if 'Paper COCO AP' in model['Metadata']:
                return model['Metadata']['Paper COCO AP'], 'paper'
    return None, ''
