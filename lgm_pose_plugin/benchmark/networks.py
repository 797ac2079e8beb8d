"""Networks of the benchmark, for any input size."""
from typing import Tuple

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
        decoder = cfg.model.get('head', {}).get('decoder', {})
        width, height = decoder.get('input_size', input_size[::-1])
        _rescale(cfg.model, (input_size[1] / width, input_size[0] / height))
        if name in NETWORKS:
            cfg.model.head.out_channels = 17
    return build_model(cfg)


def _rescale(cfg: dict, scale: Tuple[float, float]) -> None:
    """Scale the sizes (width, height) in a model's config."""
    for key, value in cfg.items():
        if key in ('input_size', 'heatmap_size', 'in_featuremap_size'):
            cfg[key] = tuple(round(a * b) for a, b in zip(value, scale))
        elif isinstance(value, dict):
            _rescale(value, scale)
