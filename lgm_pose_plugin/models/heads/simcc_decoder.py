"""Decoding of SimCC vectors with tensor operations, for exported graphs."""
from typing import Tuple

import torch
import torch.nn as nn
from mmpose.codecs import SimCCLabel
from mmpose.codecs.base import BaseKeypointCodec
from torch import Tensor


class SimCCDecoder(nn.Module):
    """What :class:`SimCCLabel`'s ``decode`` does in NumPy, in the graph.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec of the vectors.

    Raises:
        ValueError: If the codec is another one, or refines (``use_dark``) or
            decodes a visibility beside the scores (``decode_visibility``).

    Example:
        >>> decoder = SimCCDecoder(SimCCLabel((192, 256)))
        >>> keypoints, scores = decoder(
        ...     torch.rand(1, 17, 384), torch.rand(1, 17, 512))
        >>> tuple(keypoints.shape), tuple(scores.shape)
        ((1, 17, 2), (1, 17))
    """

    def __init__(self, codec: BaseKeypointCodec):
        super().__init__()
        if not isinstance(codec, SimCCLabel) or getattr(
                codec, 'use_dark', False) or getattr(
                    codec, 'decode_visibility', False):
            raise ValueError(
                'Key points can be decoded in the graph for SimCCLabel '
                'without use_dark and decode_visibility, not for '
                f'{codec!r}. Decode its vectors outside, with the codec.')
        self.split_ratio = float(codec.simcc_split_ratio)

    def forward(self, simcc_x: Tensor,
                simcc_y: Tensor) -> Tuple[Tensor, Tensor]:
        """Decode SimCC vectors.

        Args:
            simcc_x (Tensor): Vectors along x, of shape ``(B, K, Wx)``.
            simcc_y (Tensor): Vectors along y, of shape ``(B, K, Wy)``.

        Returns:
            tuple[Tensor, Tensor]: Key points (x, y) in pixels of the
            network's input, of shape ``(B, K, 2)``, and scores of shape
            ``(B, K)``, the lower one of the two maxima. Where it is not above
            zero, the location is -1 bin, as in MMPose.
        """
        score_x, x = simcc_x.float().max(dim=2)
        score_y, y = simcc_y.float().max(dim=2)
        scores = torch.minimum(score_x, score_y)
        keypoints = torch.stack((x, y), dim=2).float()
        keypoints = torch.where(scores[..., None] > 0, keypoints,
                                torch.full_like(keypoints, -1))
        return keypoints / self.split_ratio, scores
