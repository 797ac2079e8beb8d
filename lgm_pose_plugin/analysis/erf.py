"""Effective receptive field of top-down networks, as numbers and a picture.

Luo et al. 2016, "Understanding the Effective Receptive Field in Deep
Convolutional Neural Networks" (https://arxiv.org/abs/1701.04128).
"""
import os.path as osp
from contextlib import contextmanager, nullcontext
from typing import (Any, Dict, Iterator, List, NamedTuple, Optional, Sequence,
                    Tuple)

import numpy as np
import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from mmengine.config import Config
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.models import TopdownPoseEstimator
from scipy import ndimage
from torch import Tensor, nn

from lgm_pose_plugin.datasets.samples import find_samples, pipeline_batch
from lgm_pose_plugin.models.builder import build_model, last_maps, load_config
from lgm_pose_plugin.visualization.figures import save_picture

DECADES = 5  # of the colour scale


class Panel(NamedTuple):
    """Effective receptive field (ERF) of one unit of one network.

    Attributes:
        config (str): Name of the config.
        without (str, optional): Class whose modules were bypassed.
        checkpoint (str, optional): Its file name; ``None``: random weights.
        keypoint (int): Index of the key point.
        samples (int): Number of inputs.
        input_size (tuple[int, int]): Height and width of the input.
        location (tuple[float, float]): The unit's x and y in input pixels.
        area_50 (float): Percentage of the input's pixels that hold 50 % of
            the ERF.
        area_95 (float): The same for 95 %.
        rms_distance (float): See :func:`spread`.
        erf (np.ndarray): The ERF, of shape ``(H, W)``.
    """
    config: str
    without: Optional[str]
    checkpoint: Optional[str]
    keypoint: int
    samples: int
    input_size: Tuple[int, int]
    location: Tuple[float, float]
    area_50: float
    area_95: float
    rms_distance: float
    erf: np.ndarray


def effective_receptive_field(
    model: nn.Module,
    inputs: Tensor,
    keypoint: int,
    at: str = 'center',
) -> Tuple[np.ndarray, Tuple[float, float]]:
    """Compute where in the input one unit of a network's output looks.

    The gradient of the unit with respect to the input (arXiv 1701.04128,
    section 2), its absolute value added over the channels, divided by its sum
    for each input and averaged over the inputs. Sets the model to eval mode.

    Args:
        model (nn.Module): Called as ``model(inputs, None, mode='tensor')``,
            it returns heat maps of shape ``(B, K, h, w)``, a list of them (of
            which the last is taken), or SimCC's pair of shapes
            ``(B, K, w)`` and ``(B, K, h)``, whose unit is the sum of a column
            and a row.
        inputs (Tensor): Preprocessed images of shape ``(N, C, H, W)``.
        keypoint (int): Index of the key point, from 0 to K - 1.
        at (str): ``'center'``: the unit ``(h // 2, w // 2)``; ``'peak'``: the
            highest one for each input, where the gradient is then moved so
            that the peaks meet in the middle; what leaves the map is lost.
            Defaults to ``'center'``.

    Returns:
        tuple[np.ndarray, tuple[float, float]]: The ERF of shape ``(H, W)``,
        which sums to 1, and the unit's x and y in input pixels, that is its
        index times W / w and H / h, as MSRA's heat maps and SimCC are decoded.

    Raises:
        ValueError: If the output is none of these, there is no such key point
            or the gradient of an input is zero or not finite.
    """
    if at not in ('center', 'peak'):
        raise ValueError(f"at is {at!r}, must be 'center' or 'peak'")
    model.eval()
    height, width = inputs.shape[2:]
    erf = np.zeros((height, width))
    for i, image in enumerate(inputs):
        image = image[None].detach().requires_grad_()
        heat_map = _heat_map(model(image, None, mode='tensor'), keypoint)
        rows, columns = heat_map.shape
        unit = middle = rows // 2, columns // 2
        if at == 'peak':
            unit = divmod(int(heat_map.argmax()), columns)
        gradient, = torch.autograd.grad(
            heat_map[unit], image, allow_unused=True)
        if gradient is None:
            gradient = torch.zeros_like(image)
        offset = (round((middle[0] - unit[0]) * height / rows),
                  round((middle[1] - unit[1]) * width / columns))
        one = ndimage.shift(
            gradient[0].abs().double().sum(0).numpy(), offset, order=0)
        if not 0 < one.sum() < np.inf:
            raise ValueError(
                f'the gradient of key point {keypoint} with respect to input '
                f'{i} adds up to {one.sum()}; choose another key point, '
                'other inputs or another checkpoint')
        erf += one / one.sum() / len(inputs)
    return erf, (middle[1] * width / columns, middle[0] * height / rows)


def _heat_map(outputs: Any, keypoint: int) -> Tensor:
    """Find the first input's map of a key point, of shape (h, w)."""
    maps, *others = (output[0] for output in last_maps(outputs))
    if others:  # SimCC's (K, w) and (K, h)
        maps = others[0][:, :, None] + maps[:, None]
    if not 0 <= keypoint < len(maps):
        raise ValueError(f'there is no key point {keypoint}; the network '
                         f'predicts {len(maps)}, counted from 0')
    return maps[keypoint]


def area_share(erf: np.ndarray, fraction: float) -> float:
    """Compute the area that holds a fraction of a receptive field.

    Args:
        erf (np.ndarray): Non-negative map of shape ``(H, W)``.
        fraction (float): The fraction, above 0 and at most 1.

    Returns:
        float: The size of the smallest set of pixels that holds the fraction,
        as a share of all pixels.
    """
    held = np.cumsum(np.sort(erf, axis=None)[::-1])
    return (np.searchsorted(held, fraction * held[-1]) + 1) / erf.size


def spread(erf: np.ndarray, location: Tuple[float, float]) -> float:
    """Compute the root mean square distance of a receptive field.

    Args:
        erf (np.ndarray): Map of shape ``(H, W)`` that sums to 1.
        location (tuple[float, float]): x and y the distances are from.

    Returns:
        float: The distance in pixels.
    """
    y, x = np.indices(erf.shape)
    squares = (x - location[0])**2 + (y - location[1])**2
    return float(np.sqrt((erf * squares).sum()))


@contextmanager
def bypass(model: nn.Module, name: str) -> Iterator[None]:
    """Make modules return their input, as an identity in their place would.

    Args:
        model (nn.Module): The network.
        name (str): Name of the modules' class.

    Raises:
        ValueError: If there is no such module, none of them is called, or
            one does not keep the shape of its input.
    """
    modules = [m for m in model.modules() if type(m).__name__ == name]
    if not modules:
        names = sorted({type(m).__name__ for m in model.modules()})
        raise ValueError(f'the network has no module of class {name}; choose '
                         f'one of {", ".join(names)}')
    originals, ran = [], []
    refusal = ValueError(f'{name} cannot be left out: it does not return '
                         'one tensor of the shape of its input')

    # The module still runs, on a copy it may change: that shows its output's
    # shape, and its attributes stay within reach of other modules.
    def give_copy(module: nn.Module, args: tuple) -> tuple:
        if not (args and isinstance(args[0], Tensor)):
            raise refusal
        originals.append(args[0])
        return (args[0].clone(), *args[1:])

    def return_original(module: nn.Module, args: tuple, output: Any) -> Tensor:
        original = originals.pop()
        if getattr(output, 'shape', None) != original.shape:
            raise refusal
        ran.append(module)
        return original

    hooks = []
    for module in modules:
        hooks.append(module.register_forward_pre_hook(give_copy))
        hooks.append(module.register_forward_hook(return_original))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise ValueError(f'leaving out {name} changes nothing: the network '
                         'does not call these modules')


def keypoint_index(cfg: Config, keypoint: str) -> int:
    """Find a key point of a config's data set.

    Args:
        cfg (Config): The config.
        keypoint (str): Its name, or an index, which is returned as it is.

    Returns:
        int: The index.

    Raises:
        ValueError: If the data set has no such key point.
    """
    if keypoint.isdecimal():
        return int(keypoint)
    names = (dataset_meta_from_config(cfg) or {}).get('keypoint_name2id', {})
    if keypoint not in names:
        raise ValueError(
            f'there is no key point {keypoint!r} in {cfg.filename}; give an '
            f'index or one of: {", ".join(names)}')
    return names[keypoint]


def noise_inputs(model: nn.Module, samples: int, seed: int = 0) -> Tensor:
    """Draw standard normal noise, as arXiv 1701.04128 does.

    Args:
        model (nn.Module): The network, whose codec has the input's size.
        samples (int): Number N of inputs.
        seed (int): Their seed. Defaults to 0.

    Returns:
        Tensor: Inputs of shape ``(N, 3, H, W)``.

    Raises:
        ValueError: If the network has no codec.
    """
    size = getattr(getattr(model.head, 'decoder', None), 'input_size', None)
    if size is None:
        raise ValueError('model.head.decoder of the config has no '
                         'input_size; use images or the data set instead')
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 3, *size[::-1], generator=generator)


def measure(networks: Sequence[Tuple[str, Optional[str]]],
            *,
            without: Sequence[str] = (),
            keypoint: str = '0',
            at: str = 'center',
            images: Sequence[str] = (),
            dataset: bool = False,
            samples: int = 32,
            seed: int = 0,
            cfg_options: Optional[Dict[str, Any]] = None) -> List[Panel]:
    """Measure the effective receptive field of networks on the same inputs.

    Args:
        networks (Sequence[tuple[str, str | None]]): Configs, see
            :func:`~lgm_pose_plugin.models.builder.load_config`, with
            checkpoints.
        without (Sequence[str]): Classes of modules of the first network to
            leave out, one at a time, see :func:`bypass`.
        keypoint (str): Name or index of the key point. Defaults to ``'0'``.
        at (str): See :func:`effective_receptive_field`.
        images (Sequence[str]): Pictures or folders to use as inputs. Without
            them and the data set it is noise.
        dataset (bool): Whether to use the first people of the test data set
            of the first config. Defaults to ``False``.
        samples (int): Number of inputs at most. Defaults to 32.
        seed (int): Seed of noise and random weights. Defaults to 0.
        cfg_options (dict, optional): Options of the first config.

    Returns:
        list[Panel]: The first network, it without each class, the others.

    Raises:
        FileNotFoundError: If a checkpoint or picture does not exist.
        ValueError: If anything else is not as described.
    """
    if samples < 1:
        raise ValueError(f'samples must be at least 1, got {samples}')
    panels, raw = [], []
    for i, (name, checkpoint) in enumerate(networks):
        cfg = load_config(name, None if i else cfg_options)
        if i == 0:
            raw = find_samples(cfg, images, dataset, samples)
        index = keypoint_index(cfg, keypoint)
        model: TopdownPoseEstimator = build_model(cfg, checkpoint, seed)
        inputs = (
            model.data_preprocessor(pipeline_batch(cfg, raw), False)['inputs']
            if raw else noise_inputs(model, samples, seed))
        for left_out in (None, *without) if i == 0 else (None, ):
            with bypass(model, left_out) if left_out else nullcontext():
                erf, location = effective_receptive_field(
                    model, inputs, index, at)
            panels.append(
                Panel(
                    osp.splitext(osp.basename(cfg.filename))[0], left_out,
                    osp.basename(checkpoint) if checkpoint else None, index,
                    len(inputs), erf.shape, location,
                    100 * area_share(erf, .5), 100 * area_share(erf, .95),
                    spread(erf, location), erf))
    return panels


def draw(panels: Sequence[Panel], path: str) -> None:
    """Draw receptive fields side by side, on one logarithmic colour scale.

    Args:
        panels (Sequence[Panel]): What to draw.
        path (str): The picture to write; a cross marks the unit.

    Raises:
        ValueError: If it cannot be written.
    """
    figure = Figure((2.8 * len(panels) + 1, 4.2), layout='constrained')
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    highest = max(panel.erf.max() for panel in panels)
    lowest = highest / 10**DECADES
    scale = LogNorm(lowest, highest)
    for axes, panel in zip(all_axes, panels):
        image = axes.imshow(panel.erf.clip(lowest), norm=scale, cmap='inferno')
        axes.plot(*panel.location, '+', color='cyan', markersize=6)
        lines = [panel.config, panel.checkpoint or 'random weights']
        if panel.without:
            lines.insert(1, f'without {panel.without}')
        axes.set_title(
            '\n'.join(lines) + f'\n50 % of the ERF in {panel.area_50:.1f} %, '
            f'95 % in {panel.area_95:.1f} % of the input',
            fontsize=6)
        axes.tick_params(labelsize=6)
    bar = figure.colorbar(image, ax=list(all_axes), extend='min', shrink=.8)
    bar.set_label('share of the ERF per pixel', fontsize=7)
    bar.ax.tick_params(labelsize=6)
    save_picture(figure, path)
