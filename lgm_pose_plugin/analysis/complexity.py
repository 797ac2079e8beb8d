"""Parameters and multiply-adds of a config's network."""
import os.path as osp
from typing import Counter, NamedTuple, Tuple

import torch
import torch.nn as nn
from mmengine.analysis import FlopAnalyzer
from mmpose.models import TopdownPoseEstimator
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lgm_pose_plugin.models.builder import build_model, load_config

_LEAVES = (_ConvNd, _BatchNorm, nn.Linear, nn.LayerNorm)


class Complexity(NamedTuple):
    """Size and cost of one config's network.

    Attributes:
        name (str): Name of the config.
        input_size (tuple[int, int]): Height and width of the input.
        params (int): Number of all parameters.
        leaf_params (int): Those of convolutions, linear and normalization
            layers; a network's own, such as LAPX's gates, are left out.
        macs (int): Multiply-adds of one forward pass as MMEngine counts them:
            also 2 per element of a BatchNorm, 5 of a LayerNorm, 1 of a pooled
            or enlarged map.
        conv_macs (int): Those of convolutions, linear layers and matrix
            products.
        thop_macs (int): ``conv_macs``, and 4 per element of a normalized, 1
            of an average-pooled map, as the package thop counts these.
        hrnet_macs (int): See :func:`count_hrnet_macs`.
    """
    name: str
    input_size: tuple
    params: int
    leaf_params: int
    macs: int
    conv_macs: int
    thop_macs: int
    hrnet_macs: int = 0


def count_parameters(model: nn.Module) -> Tuple[int, int]:
    """Count the parameters of a network.

    Args:
        model (:obj:`nn.Module`): The network.

    Returns:
        tuple[int, int]: ``params`` and ``leaf_params`` of
        :class:`Complexity`.
    """
    return (sum(p.numel() for p in model.parameters()),
            sum(p.numel() for module in model.modules()
                if isinstance(module, _LEAVES) for p in module.parameters()))


def count_macs(model: TopdownPoseEstimator,
               input_size: Tuple[int, int]) -> Counter[str]:
    """Count the multiply-adds of one image as MMEngine does.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network, in eval mode.
        input_size (tuple[int, int]): Height and width of the image.

    Returns:
        Counter[str]: Their numbers by operator.
    """
    model.forward = model._forward
    try:
        analyzer = FlopAnalyzer(model, (torch.zeros(1, 3, *input_size), ))
        analyzer.unsupported_ops_warnings(False)
        return analyzer.by_operator()
    finally:
        del model.forward


def count_hrnet_macs(model: TopdownPoseEstimator,
                     input_size: Tuple[int, int]) -> int:
    """Count the multiply-adds of one image as HRNet's repository does.

    Its ``get_model_summary`` is what the papers use that build on HRNet's
    code. It counts the weights of a convolution once per output pixel (also
    of a transposed one), and of a linear layer for each output the second
    dimension of its input, which among tokens is their number. Matrix
    products of attention are left out. Its G is 2**30.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network, in eval mode.
        input_size (tuple[int, int]): Height and width of the image.

    Returns:
        int: The number, times 10**9 / 2**30.
    """
    total = 0

    def count(module: nn.Module, inputs: Tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Linear):
            total += out.numel() * inputs[0].shape[1]
        else:
            weights = module.get_parameter('weight').numel()
            total += weights * out.shape[2:].numel()

    hooks = [
        module.register_forward_hook(count) for module in model.modules()
        if isinstance(module, (_ConvNd, nn.Linear))
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, *input_size), None, mode='tensor')
    for hook in hooks:
        hook.remove()
    return int(total * 10**9 / 2**30)


def count_complexity(config: str) -> Complexity:
    """Count the parameters and multiply-adds of a config's network.

    In eval mode and without flip test, from the operators that MMEngine's
    ``FlopAnalyzer`` finds.

    Args:
        config (str): See :func:`~lgm_pose_plugin.models.builder.load_config`.

    Returns:
        Complexity: The counts.

    Raises:
        ValueError: If there is no such config, or it has no top-down network
            or no input size.
    """
    cfg = load_config(config)
    model = build_model(cfg)
    size = getattr(getattr(model.head, 'decoder', None), 'input_size', None)
    if size is None:
        raise ValueError(f'{cfg.filename} has no input size '
                         '(model.head.decoder.input_size)')
    input_size = tuple(size)[::-1]
    macs = count_macs(model, input_size)
    conv_macs = sum(macs[name]
                    for name in ('conv', 'linear', 'matmul', 'bmm', 'einsum'))
    # MMEngine counts 2 and 5 per element.
    normalized = macs['batch_norm'] / 2 + macs['layer_norm'] / 5
    params, leaf_params = count_parameters(model)
    return Complexity(
        name=osp.splitext(osp.basename(cfg.filename))[0],
        input_size=input_size,
        params=params,
        leaf_params=leaf_params,
        macs=sum(macs.values()),
        conv_macs=conv_macs,
        thop_macs=int(conv_macs + 4 * normalized +
                      macs['adaptive_avg_pool2d']),
        hrnet_macs=count_hrnet_macs(model, input_size))
