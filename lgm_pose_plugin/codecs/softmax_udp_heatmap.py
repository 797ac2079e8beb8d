"""Heat maps that are probabilities over their pixels."""
import math
from typing import Tuple

import numpy as np
from mmpose.codecs import UDPHeatmap
from mmpose.codecs.utils import (gaussian_blur, get_heatmap_maximum,
                                 refine_keypoints_dark_udp)
from mmpose.registry import KEYPOINT_CODECS
from torch import Tensor


@KEYPOINT_CODECS.register_module()
class SoftmaxUDPHeatmap(UDPHeatmap):
    """UDP's heat maps, of which a network predicts the logits.

    It is for networks trained with :class:`KeypointCrossEntropyLoss`. The
    targets are those of MMPose's :class:`UDPHeatmap` (arXiv 1911.07524). To
    decode, a softmax over the pixels turns a map into the probability of where
    the key point is (as in Mask R-CNN, arXiv 1703.06870, section 5). The map
    is scaled so that a map of the target's shape has the target's maximum, 1.
    The maximum is the score.

    The key point is at the maximum of the blurred map, refined as in UDP by
    at most :attr:`max_step`. MMPose starts at the maximum of the map itself.
    There the blurred map need not have one, and the refinement may throw the
    point out of the picture. docs/body17_weights.md has the accuracy of both.

    Args:
        input_size (tuple[int, int]): Width and height of the network's input.
        heatmap_size (tuple[int, int]): Width and height of the heat maps.
        sigma (float): Standard deviation of the targets in heat-map pixels.
            Defaults to 2.
        blur_kernel_size (int): Kernel of the blur. Defaults to 11.

    Example:
        >>> import numpy as np
        >>> codec = SoftmaxUDPHeatmap((192, 256), (48, 64))
        >>> maps = codec.encode(np.full((1, 17, 2), 96.))['heatmaps']
        >>> keypoints, scores = codec.decode(np.log(maps.clip(1e-9)))
        >>> keypoints.shape, scores.shape
        ((1, 17, 2), (1, 17))
    """

    #: The largest refinement along x and y, in heat-map pixels.
    max_step = 1.

    def __init__(self,
                 input_size: Tuple[int, int],
                 heatmap_size: Tuple[int, int],
                 sigma: float = 2.,
                 blur_kernel_size: int = 11):
        super().__init__(
            input_size,
            heatmap_size,
            sigma=sigma,
            blur_kernel_size=blur_kernel_size)
        # The sum of a Gaussian with maximum 1.
        self.mass = 2 * math.pi * sigma**2

    def to_heatmaps(self, logits: Tensor) -> Tensor:
        """Make heat maps of a network's logits.

        Args:
            logits (Tensor): Logits of shape ``(..., H, W)``.

        Returns:
            Tensor: Heat maps of the same shape, on the scale of the targets.
        """
        return self.mass * logits.flatten(-2).softmax(-1).reshape(logits.shape)

    def decode(self, encoded: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Decode key points from logits.

        Args:
            encoded (np.ndarray): Logits of shape ``(K, H, W)``.

        Returns:
            tuple[np.ndarray, np.ndarray]: Key points (x, y) in pixels of the
            network's input, of shape ``(1, K, 2)``, and scores of shape
            ``(1, K)``; 1 is as sure as the targets, and more is possible.
        """
        heatmaps = np.exp(encoded - encoded.max((1, 2), keepdims=True))
        heatmaps *= self.mass / heatmaps.sum((1, 2), keepdims=True)
        return self.decode_heatmaps(heatmaps)

    def decode_heatmaps(self,
                        heatmaps: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Decode key points from heat maps.

        Args:
            heatmaps (np.ndarray): Heat maps of shape ``(K, H, W)``, see
                :meth:`to_heatmaps`.

        Returns:
            tuple[np.ndarray, np.ndarray]: See :meth:`decode`.
        """
        scores = heatmaps.max((1, 2))
        blurred = gaussian_blur(heatmaps.copy(), self.blur_kernel_size)
        peaks = get_heatmap_maximum(blurred)[0][None]
        # It blurs the maps again, and in place.
        keypoints = refine_keypoints_dark_udp(peaks.copy(), heatmaps.copy(),
                                              self.blur_kernel_size)
        keypoints = keypoints.clip(peaks - self.max_step,
                                   peaks + self.max_step)
        size = np.array(self.heatmap_size) - 1
        return keypoints / size * self.input_size, scores[None]
