"""Decoding of heat maps with tensor operations, for exported graphs."""
from typing import Callable, Tuple

import cv2
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmpose.codecs import MSRAHeatmap, UDPHeatmap
from mmpose.codecs.base import BaseKeypointCodec
from torch import Tensor


class KeypointDecoder(nn.Module):
    """What a codec's ``decode`` does in NumPy, as part of the graph.

    It covers MMPose's :class:`MSRAHeatmap`, plain (a quarter pixel towards
    the second maximum) and ``unbiased`` (DARK, arXiv 1910.06278), and
    :class:`UDPHeatmap` with ``heatmap_type='gaussian'`` (arXiv 1911.07524),
    and this package's :class:`SoftmaxUDPHeatmap`.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec of the heat maps.

    Raises:
        ValueError: If the codec is none of these.

    Example:
        >>> decoder = KeypointDecoder(MSRAHeatmap((192, 256), (48, 64), 2))
        >>> keypoints, scores = decoder(torch.rand(1, 17, 64, 48))
        >>> tuple(keypoints.shape), tuple(scores.shape)
        ((1, 17, 2), (1, 17))
    """

    blur_kernel: Tensor

    def __init__(self, codec: BaseKeypointCodec):
        super().__init__()
        self.to_heatmaps = getattr(codec, 'to_heatmaps', nn.Identity())
        # SoftmaxUDPHeatmap's; others start from the map itself.
        self.max_step = getattr(codec, 'max_step', None)
        if isinstance(codec, MSRAHeatmap):
            self.refinement = 'dark' if codec.unbiased else 'quarter'
            scale = codec.scale_factor
        elif isinstance(codec,
                        UDPHeatmap) and codec.heatmap_type == 'gaussian':
            self.refinement = 'udp'
            # As UDPHeatmap.decode: x / (W - 1) * input width.
            scale = [
                size / (heatmap_size - 1) for size, heatmap_size in zip(
                    codec.input_size, codec.heatmap_size)
            ]
        else:
            raise ValueError(
                'Key points can be decoded in the graph for MSRAHeatmap, '
                'UDPHeatmap (gaussian) and SoftmaxUDPHeatmap, not for '
                f'{codec!r}. Decode its heat maps outside, with the codec.')
        # No buffer: model.half() would round it.
        self.scale = tuple(float(factor) for factor in scale)
        if self.refinement != 'quarter':
            kernel = cv2.getGaussianKernel(codec.blur_kernel_size, 0)
            self.register_buffer(
                'blur_kernel',
                torch.from_numpy(kernel).float().flatten(),
                persistent=False)

    def forward(self, heatmaps: Tensor) -> Tuple[Tensor, Tensor]:
        """Decode heat maps.

        Args:
            heatmaps (Tensor): Heat maps (for :class:`SoftmaxUDPHeatmap`,
                logits) of shape ``(B, K, H, W)``.

        Returns:
            tuple[Tensor, Tensor]: Key points (x, y) in pixels of the
            network's input, of shape ``(B, K, 2)``, and scores of shape
            ``(B, K)``. Where no value is above zero, the location is -1 heat
            map pixels, as in MMPose (whose ``UDPHeatmap`` refines even that
            and may give anything).
        """
        # Half precision has too few digits for coordinates.
        heatmaps = self.to_heatmaps(heatmaps.float())
        width = heatmaps.shape[3]
        scores, index = heatmaps.flatten(2).max(dim=2)
        if self.refinement != 'quarter':
            heatmaps = self._blur(heatmaps)
        if self.max_step:
            index = heatmaps.flatten(2).argmax(dim=2)
        y = torch.div(index, width, rounding_mode='floor')
        x = index - y * width
        if self.refinement == 'quarter':
            offset = self._quarter_offset(heatmaps, x, y)
        else:
            offset = self._taylor_offset(heatmaps, x, y)
        if self.max_step:
            offset = offset.clamp(-self.max_step, self.max_step)
        keypoints = torch.stack((x, y), dim=2) + offset
        keypoints = torch.where(scores[..., None] > 0, keypoints,
                                torch.full_like(keypoints, -1))
        x, y = keypoints.unbind(2)
        x, y = x * self.scale[0], y * self.scale[1]
        return torch.stack((x, y), dim=2), scores

    @staticmethod
    def _quarter_offset(heatmaps: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """A quarter pixel towards the larger neighbour, ``(B, K, 2)``."""
        height, width = heatmaps.shape[2:]
        at = _sampler(heatmaps, x, y, padding=1)
        dx = torch.sign(at(1, 0) - at(-1, 0))
        dy = torch.sign(at(0, 1) - at(0, -1))
        # MMPose's bounds, which leave out one more row and column than needed
        # at the left and top.
        dx = dx * ((x > 1) & (x < width - 1) & (y > 0))
        dy = dy * ((y > 1) & (y < height - 1) & (x > 0))
        return 0.25 * torch.stack((dx, dy), dim=2)

    def _taylor_offset(self, blurred: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The maximum of a second-order expansion, of shape ``(B, K, 2)``."""
        height, width = blurred.shape[2:]
        if self.refinement == 'udp':
            at = _sampler(blurred.clamp(1e-3, 50).log(), x, y, padding=1)
            dxx = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
            dyy = at(0, 1) - 2 * at(0, 0) + at(0, -1)
            dxy = 0.5 * (
                at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) -
                at(0, -1) + at(-1, -1))
            eps = torch.finfo(torch.float32).eps
            dxx, dyy = dxx + eps, dyy + eps
            valid = torch.ones_like(x, dtype=torch.bool)
        else:
            at = _sampler(blurred.clamp(min=1e-10).log(), x, y, padding=2)
            dxx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
            dyy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
            dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
            valid = ((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))
        dx = 0.5 * (at(1, 0) - at(-1, 0))
        dy = 0.5 * (at(0, 1) - at(0, -1))
        determinant = dxx * dyy - dxy * dxy
        valid = valid & (determinant != 0)
        # -inverse(hessian) @ gradient
        offset = -torch.stack(
            (dyy * dx - dxy * dy, dxx * dy - dxy * dx), dim=2)
        offset = offset / torch.where(valid, determinant,
                                      torch.ones_like(determinant))[..., None]
        return offset * valid[..., None]

    def _blur(self, heatmaps: Tensor) -> Tensor:
        """Gaussian blur that keeps each map's maximum."""
        batch, keypoints, height, width = heatmaps.shape
        maps = heatmaps.reshape(batch * keypoints, 1, height, width)
        # A head without parameters does not know its device before.
        kernel = self.blur_kernel.to(heatmaps)
        half = kernel.shape[0] // 2
        blurred = F.conv2d(
            F.conv2d(maps, kernel.view(1, 1, 1, -1), padding=(0, half)),
            kernel.view(1, 1, -1, 1),
            padding=(half, 0))
        ratio = maps.amax((2, 3), keepdim=True) / blurred.amax(
            (2, 3), keepdim=True)
        return (blurred * ratio).view_as(heatmaps)


def _sampler(maps: Tensor, x: Tensor, y: Tensor,
             padding: int) -> Callable[[int, int], Tensor]:
    """Make a function of the values at an offset from one location per map.

    Args:
        maps (Tensor): Maps of shape ``(B, K, H, W)``.
        x (Tensor): Columns of shape ``(B, K)``.
        y (Tensor): Rows of shape ``(B, K)``.
        padding (int): The largest offset; borders are replicated.

    Returns:
        callable: Takes the offset's dx and dy, returns shape ``(B, K)``.
    """
    width = maps.shape[3] + 2 * padding
    values = F.pad(maps, [padding] * 4, mode='replicate').flatten(2)
    index = (y + padding) * width + x + padding

    def at(dx: int, dy: int) -> Tensor:
        return values.gather(2, (index + (dy * width + dx))[..., None])[..., 0]

    return at
