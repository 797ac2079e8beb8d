"""Carry LARM's weights from one map size over to another."""
from typing import Any, Callable, Dict, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Wherever the weights are, and whatever torch's defaults.
CPU: Dict[str, Any] = dict(device='cpu', dtype=torch.float32)


def resize_matrix(source: Tuple[int, int], target: Tuple[int, int]) -> Tensor:
    """The linear operator of an antialiased bilinear resize.

    Args:
        source (tuple[int, int]): Height and width of the given map.
        target (tuple[int, int]): Height and width of the wanted map.

    Returns:
        Tensor: Matrix of shape ``(target elements, source elements)`` whose
        rows sum to one.
    """
    num_source = source[0] * source[1]
    basis = torch.eye(num_source, **CPU).view(num_source, 1, *source)
    resized = F.interpolate(basis, target, mode='bilinear', antialias=True)
    return resized.view(num_source, -1).t()


def resize_mlp(state: Dict[str, Tensor],
               source: Tuple[int, int],
               target: Tuple[int, int],
               activation: Callable = F.gelu) -> Dict[str, Tensor]:
    """Resize the weights of an MLP over a map's patches to another map.

    The MLP of the new size shrinks its input to the old map, applies the old
    weights and enlarges the result, all folded into the weights. Its hidden
    layer grows or shrinks with the map:

    - To grow, hidden units are repeated and share their output weights, which
      leaves the function as it was (Net2Net, arXiv 1511.05641). A little
      noise lets the copies part in training.
    - To shrink, the units with the largest weights stay and the output
      weights are fitted (least squares) to what all units gave on normalized
      random input. This is an approximation; fine-tune afterwards.

    Args:
        state (dict[str, Tensor]): ``fc1`` and ``fc2`` ``.weight`` and
            ``.bias`` of the MLP, maybe ``norm``'s, with ``n`` inputs and
            ``r * n`` hidden units, where ``n`` is the number of elements of
            ``source``; the weights are of linear layers or of convolutions
            with a kernel of 1.
        source (tuple[int, int]): Height and width of the map of ``state``.
        target (tuple[int, int]): Height and width of the wanted map.
        activation (callable): The MLP's activation. Defaults to GELU.

    Returns:
        dict[str, Tensor]: The same keys for the target map.
    """
    given = state
    state = {key: value.cpu().float() for key, value in given.items()}
    for key in ('fc1.weight', 'fc2.weight'):
        state[key] = state[key].flatten(1)
    to_target = resize_matrix(source, target)
    num_hidden, num_source = state['fc1.weight'].shape
    num_target = target[0] * target[1]
    num_kept = num_hidden // num_source * num_target

    resized = {
        key: to_target @ value
        for key, value in state.items() if key.startswith('norm.')
    }
    weight1 = state['fc1.weight'] @ resize_matrix(target, source)
    weight2 = to_target @ state['fc2.weight']
    bias2 = to_target @ state['fc2.bias']

    generator = torch.Generator('cpu').manual_seed(0)
    if num_kept >= num_hidden:
        units = torch.arange(num_kept, device='cpu') * num_hidden // num_kept
        copies = torch.bincount(units, minlength=num_hidden)
        noise = torch.randn(num_kept, num_target, generator=generator, **CPU)
        new_weight1 = weight1[units] + 0.01 * weight1.std() * noise
        new_weight2 = (weight2 / copies)[:, units]
    else:
        importance = weight1.norm(dim=1) * weight2.norm(dim=0)
        units = importance.topk(num_kept).indices.sort().values
        new_weight1 = weight1[units]
        inputs = torch.randn(
            8 * num_hidden, num_target, generator=generator, **CPU)
        if resized:
            inputs = inputs * resized['norm.weight'] + resized['norm.bias']
        hidden = activation(inputs @ weight1.t() + state['fc1.bias'])
        kept = torch.cat((hidden[:, units], torch.ones(len(inputs), 1, **CPU)),
                         dim=1)
        fitted = torch.linalg.lstsq(kept, hidden @ weight2.t() + bias2)
        new_weight2, bias2 = fitted.solution[:-1].t(), fitted.solution[-1]
    resized.update({
        'fc1.weight': new_weight1,
        'fc1.bias': state['fc1.bias'][units],
        'fc2.weight': new_weight2,
        'fc2.bias': bias2
    })
    return {
        key:
        value.reshape(value.shape + given[key].shape[value.dim():]).to(
            given[key])
        for key, value in resized.items()
    }
