"""Networks of the benchmark, for any input size."""
from typing import Tuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lgm_pose_plugin.model_index import NETWORKS
from lgm_pose_plugin.models.builder import build_model, load_config


def build_network(name: str, input_size: Tuple[int, int]) -> nn.Module:
    """Build a network with random weights for any input size.

    BatchNorm gets the statistics of random images, so that values keep their
    scale at all depths. Else they vanish in deep networks: float16 has zeros
    in their place, and some CPUs are slow with numbers as small.

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
    model = build_model(cfg)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None  # the mean over batches: of one
    with torch.no_grad():
        model.train()(random_images(2, input_size), None, mode='tensor')
    return model.eval()


def random_images(number: int, input_size: Tuple[int, int]) -> Tensor:
    """Make normalized images, the same at each call.

    Args:
        number (int): How many.
        input_size (tuple[int, int]): Height and width.

    Returns:
        Tensor: The images, of shape ``(number, 3, H, W)``.
    """
    generator = torch.Generator().manual_seed(0)
    return torch.randn(number, 3, *input_size, generator=generator)


def _rescale(cfg: dict, scale: Tuple[float, float]) -> None:
    """Scale the sizes (width, height) in a model's config."""
    for key, value in cfg.items():
        if key in ('input_size', 'heatmap_size', 'in_featuremap_size'):
            cfg[key] = tuple(round(a * b) for a, b in zip(value, scale))
        elif isinstance(value, dict):
            _rescale(value, scale)
