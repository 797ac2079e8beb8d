"""The same network in operators that the runtimes of phones have.

LiteRT's converter takes no deconvolution with output padding, and its GPU
delegates take tensors of four dimensions alone; ncnn has four beside the
batch, no gather and no floor division. What is written in others is replaced
on a copy of the network. The outputs stay.
"""
import copy
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lgm_pose_plugin.models.layers.fast_larm import FastLARM
from lgm_pose_plugin.models.layers.larm import LARM
from lgm_pose_plugin.models.necks.sfusion_neck import PairShuffle, SFusion
from .graph import ExportedNetwork
from .onnx_file import fold_batch_norms


def with_equivalents(network: ExportedNetwork,
                     channels_first: bool = False) -> ExportedNetwork:
    """Copy a network and replace what other runtimes lack.

    Args:
        network (ExportedNetwork): The network, in eval mode.
        channels_first (bool): Whether the copy takes BGR crops as float32 of
            shape ``(N, 3, H, W)``. Defaults to ``False``.

    Returns:
        ExportedNetwork: The copy.
    """
    network = copy.deepcopy(network)
    fold_batch_norms(network)
    for module in list(network.modules()):
        # On a slice, exporters write them back into the whole.
        if getattr(module, 'inplace', False):
            setattr(module, 'inplace', False)
        if isinstance(module, LARM):
            rewrite_larm(module)
        if isinstance(module, SFusion) and isinstance(module.shuffle,
                                                      PairShuffle):
            conv, norm = module.conv.conv, module.conv.norm
            if isinstance(norm, nn.BatchNorm2d):
                conv = fuse_conv_bn_eval(conv, norm)
                setattr(module.conv, module.conv.norm_name, nn.Identity())
            module.shuffle = nn.Identity()
            module.conv.conv = PairConv(conv)
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ConvTranspose2d) and any(
                    child.output_padding):
                setattr(module, name, CroppedDeconv(child))
    if network.normalize:
        network.preprocess = Preprocess(network.model.data_preprocessor,
                                        channels_first)
    return network


def rewrite_larm(larm: LARM) -> None:
    """Let LARM cut its map with tensors of four dimensions.

    Args:
        larm (LARM): The layer, changed in place.
    """
    mix = _fast_mix if isinstance(larm, FastLARM) else _mix
    setattr(larm, 'mix', MethodType(mix, larm))


class Preprocess(nn.Module):
    """The data preprocessor as one 1x1 convolution.

    Args:
        processor (:obj:`ImgDataPreprocessor`): The data preprocessor.
        channels_first (bool): See :func:`with_equivalents`.
    """

    def __init__(self, processor: ImgDataPreprocessor, channels_first: bool):
        super().__init__()
        self.channels_first = channels_first
        mean, std = torch.zeros(3), torch.ones(3)
        if processor._enable_normalize:
            mean, std = processor.mean.flatten(), processor.std.flatten()
        weight = torch.eye(3)
        if processor._channel_conversion:
            weight = weight.flip(0)
        self.weight = nn.Parameter((weight / std[:, None])[..., None, None])
        self.bias = nn.Parameter(-mean / std)

    def forward(self, images: Tensor) -> Tensor:
        """Normalize BGR images.

        Args:
            images (Tensor): See :func:`with_equivalents`; if not
                ``channels_first``, uint8 of shape ``(N, H, W, 3)``.

        Returns:
            Tensor: What the network takes, of shape ``(N, 3, H, W)``.
        """
        if not self.channels_first:
            images = images.float().permute(0, 3, 1, 2)
        return F.conv2d(images, self.weight, self.bias)


class CroppedDeconv(nn.Module):
    """A deconvolution without paddings, of which a part is taken.

    Args:
        conv (nn.ConvTranspose2d): The deconvolution, which loses its
            paddings.

    Raises:
        ValueError: If it pads its output by more than its input.
    """

    def __init__(self, conv: nn.ConvTranspose2d):
        super().__init__()
        self.conv = conv
        padding: Any = conv.padding, conv.output_padding
        (top, left), (bottom, right) = padding
        if bottom > top or right > left:
            raise ValueError(f'{conv} has more output padding than padding, '
                             'which other runtimes do not have')
        conv.padding = conv.output_padding = (0, 0)
        # Output padding undoes the padding of the other side.
        self.crop = top, left, top - bottom, left - right

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge a map ``(B, C, H, W)`` as the deconvolution does."""
        x = self.conv(x)
        top, left, bottom, right = self.crop
        height, width = x.shape[2:]
        part: Tensor = x[:, :, top:height - bottom, left:width - right]
        return part


class PairConv(nn.Module):
    """A shuffle of pairs and a convolution of groups of two channels.

    Group i has channel i of the first and channel i of the second half of the
    map. So the first outputs of all groups are a depthwise convolution whose
    two halves are added, and the second outputs are another. Depthwise
    convolutions have kernels of their own in all runtimes, small groups do
    not.

    Args:
        conv (nn.Conv2d): The convolution of C channels and C / 2 groups.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.convs = nn.ModuleList()
        bias = conv.weight.new_zeros(conv.out_channels)
        bias = bias if conv.bias is None else conv.bias.data
        for i in range(2):
            depthwise = copy.deepcopy(conv)
            depthwise.groups = conv.out_channels
            weight = conv.weight.data[i::2]  # (C / 2, 2, h, w)
            depthwise.weight = nn.Parameter(
                weight.transpose(0, 1).reshape(-1, 1, *weight.shape[2:]))
            half = bias[i::2]
            depthwise.bias = nn.Parameter(
                torch.cat((half, torch.zeros_like(half))))
            self.convs.append(depthwise)

    def forward(self, x: Tensor) -> Tensor:
        """Filter a map that was not shuffled, of shape ``(B, C, H, W)``."""
        outputs = []
        for conv in self.convs:
            first, second = conv(x).chunk(2, 1)
            outputs.append(first + second)
        batch, channels, height, width = x.shape
        x = torch.cat(outputs, 1)
        x = x.reshape(batch, 2, channels // 2, height * width).transpose(1, 2)
        return x.reshape(batch, channels, height, width)


def _mix(self: LARM, x: Tensor) -> Tensor:
    """:meth:`LARM.mix` with tensors of four dimensions."""
    B, d = x.shape[:2]
    (rows, cols), (h, w) = self.grid_size, self.patch_size
    x = x.reshape(B * d, rows, h, cols * w).transpose(1, 2)
    x = x.reshape(B * d * h, rows * cols, w).transpose(1, 2)
    x = x.reshape(B, d, h * w, rows * cols)  # (B, d, P, N)
    x = self.pixel_mlp(self.patch_mlp(x).transpose(2, 3))  # (B, d, N, P)
    x = x.reshape(B * d * rows, cols, h, w).transpose(1, 2)
    return x.reshape(B, d, rows * h, cols * w)


def _fast_mix(self: FastLARM, x: Tensor) -> Tensor:
    """:meth:`FastLARM.mix` with tensors of four dimensions."""
    B, d = x.shape[:2]
    (rows, cols), (h, w) = self.grid_size, self.patch_size
    x = x.permute(0, 2, 3, 1)  # (B, H, W, d)
    x = x.reshape(B * rows, h, cols, w * d).transpose(1, 2)
    x = self.patch_mlp(x.reshape(B, rows * cols, h * w * d))  # (B, N, P * d)
    x = self.pixel_mlp(x.reshape(B * rows * cols, h * w, d))  # (B * N, P, d)
    x = x.reshape(B * rows, cols, h, w * d).transpose(1, 2)
    return x.reshape(B, rows * h, cols * w, d).permute(0, 3, 1, 2)
