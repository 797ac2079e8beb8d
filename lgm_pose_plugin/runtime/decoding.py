"""Decode heat maps and SimCC vectors, as MMPose's codecs do.

models/heads/keypoint_decoder.py and simcc_decoder.py do the same inside an
exported graph.
"""
from typing import Any, Callable, Dict, Tuple

import cv2
import numpy as np

# Reads maps beside M x K locations: (dx, dy) -> values of shape (M, K).
Sampler = Callable[[int, int], np.ndarray]


def decode(outputs: Dict[str, np.ndarray],
           codec: Dict[str, Any]) -> Tuple[np.ndarray, np.ndarray]:
    """What MMPose's codec decodes from the outputs of a network.

    Args:
        outputs (dict[str, np.ndarray]): ``heatmaps`` (or their logits) of
            shape ``(M, K, H, W)``, or ``simcc_x`` of shape ``(M, K, Wx)`` and
            ``simcc_y`` of shape ``(M, K, Wy)``.
        codec (dict): The codec's type and arguments.

    Returns:
        tuple[np.ndarray, np.ndarray]: Key points (x, y) in crop pixels, of
        shape ``(M, K, 2)``, and scores of shape ``(M, K)``. Where no value is
        above zero, the location is -1 bin.

    Raises:
        ValueError: If the codec is not SimCCLabel (without ``use_dark`` and
            ``decode_visibility``), MSRAHeatmap, UDPHeatmap (gaussian) or
            SoftmaxUDPHeatmap.
    """
    kind = codec['type']
    if not is_decodable(codec):
        raise ValueError(
            f'the outputs of a network with the codec {kind} {codec} cannot '
            'be decoded here; use MMPose')
    if kind == 'SimCCLabel':
        vectors = outputs['simcc_x'], outputs['simcc_y']
        scores = np.minimum(*(vector.max(2) for vector in vectors))
        keypoints = np.stack([vector.argmax(2) for vector in vectors], 2)
        keypoints = np.where(scores[..., None] > 0, keypoints, -1)
        return np.float32(keypoints / codec['simcc_split_ratio']), scores
    softmax = kind == 'SoftmaxUDPHeatmap'
    gaussian = kind != 'MSRAHeatmap'
    heatmaps = outputs['heatmaps']
    if softmax:
        heatmaps = np.exp(heatmaps - heatmaps.max((2, 3), keepdims=True))
        heatmaps *= 2 * np.pi * codec['sigma']**2 / heatmaps.sum(
            (2, 3), keepdims=True)
    height, width = heatmaps.shape[2:]
    scores = heatmaps.max((2, 3))
    # Of maps that are zero everywhere.
    with np.errstate(divide='ignore', invalid='ignore'):
        blurred = heatmaps
        if gaussian or codec['unbiased']:
            blurred = _blur(heatmaps, codec['blur_kernel_size'])
        peaks = blurred if softmax else heatmaps
        index = peaks.reshape(*peaks.shape[:2], -1).argmax(2)
        x, y = index % width, index // width
        if gaussian:
            offset = _udp_offset(blurred, x, y)
        elif codec['unbiased']:
            offset = _dark_offset(blurred, x, y)
        else:
            offset = _quarter_offset(heatmaps, x, y)
    if softmax:
        # SoftmaxUDPHeatmap.max_step
        offset = offset.clip(-1, 1)
    keypoints = np.where(scores[..., None] > 0,
                         np.stack([x, y], 2) + offset, -1)
    size = np.array([width, height]) - gaussian
    return np.float32(keypoints / size * codec['input_size']), scores


def is_decodable(codec: Dict[str, Any]) -> bool:
    """Whether :func:`decode` takes a codec's outputs."""
    if codec['type'] == 'SimCCLabel':
        return not (codec.get('use_dark') or codec.get('decode_visibility'))
    if codec['type'] == 'UDPHeatmap':
        return bool(codec.get('heatmap_type') == 'gaussian')
    return codec['type'] in ('MSRAHeatmap', 'SoftmaxUDPHeatmap')


def flip_back(outputs: Dict[str, np.ndarray],
              metadata: Dict[str, Any]) -> Dict[str, np.ndarray]:
    """Undo the mirroring, as MMPose's flip_heatmaps and flip_vectors.

    Args:
        outputs (dict[str, np.ndarray]): See :func:`decode`, of mirrored crops.
        metadata (dict): ``flip_indices`` and ``shift_heatmap``.

    Returns:
        dict[str, np.ndarray]: What the crops themselves would give.
    """
    outputs = {
        name: value[:, metadata['flip_indices']]
        for name, value in outputs.items()
    }
    for name in {'heatmaps', 'simcc_x'} & set(outputs):
        outputs[name] = outputs[name][..., ::-1].copy()
    if 'heatmaps' in outputs and metadata['shift_heatmap']:
        maps = outputs['heatmaps']
        maps[..., 1:] = maps[..., :-1].copy()
    return outputs


def _sampler(maps: np.ndarray, x: np.ndarray, y: np.ndarray) -> Sampler:
    people, keypoints = np.ogrid[:maps.shape[0], :maps.shape[1]]
    padded = np.pad(maps, ((0, 0), (0, 0), (2, 2), (2, 2)), mode='edge')
    return lambda dx, dy: padded[people, keypoints, y + 2 + dy, x + 2 + dx]


def _quarter_offset(heatmaps: np.ndarray, x: np.ndarray,
                    y: np.ndarray) -> np.ndarray:
    """A quarter pixel towards the larger neighbour: refine_keypoints."""
    height, width = heatmaps.shape[2:]
    at = _sampler(heatmaps, x, y)
    dx = np.sign(at(1, 0) - at(-1, 0))
    dy = np.sign(at(0, 1) - at(0, -1))
    dx = dx * ((x > 1) & (x < width - 1) & (y > 0))
    dy = dy * ((y > 1) & (y < height - 1) & (x > 0))
    return 0.25 * np.stack([dx, dy], 2)


def _dark_offset(blurred: np.ndarray, x: np.ndarray,
                 y: np.ndarray) -> np.ndarray:
    """The maximum of a second-order expansion: refine_keypoints_dark."""
    height, width = blurred.shape[2:]
    at = _sampler(np.log(blurred.clip(1e-10)), x, y)
    dxx = 0.25 * (at(2, 0) - 2 * at(0, 0) + at(-2, 0))
    dyy = 0.25 * (at(0, 2) - 2 * at(0, 0) + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return _newton_step(at, dxx, dyy, dxy, inside)


def _udp_offset(blurred: np.ndarray, x: np.ndarray,
                y: np.ndarray) -> np.ndarray:
    """The same as UDP computes it: refine_keypoints_dark_udp."""
    at = _sampler(np.log(blurred.clip(1e-3, 50)), x, y)
    eps = np.finfo(np.float32).eps
    dxx = at(1, 0) - 2 * at(0, 0) + at(-1, 0) + eps
    dyy = at(0, 1) - 2 * at(0, 0) + at(0, -1) + eps
    dxy = 0.5 * (
        at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) +
        at(-1, -1))
    return _newton_step(at, dxx, dyy, dxy, np.ones_like(x, bool))


def _newton_step(at: Sampler, dxx: np.ndarray, dyy: np.ndarray,
                 dxy: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """-inverse(Hessian) @ gradient of shape (M, K, 2); 0 where not valid."""
    dx = 0.5 * (at(1, 0) - at(-1, 0))
    dy = 0.5 * (at(0, 1) - at(0, -1))
    determinant = dxx * dyy - dxy * dxy
    valid = valid & (determinant != 0)
    step = -np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], 2)
    step = step / np.where(valid, determinant, 1)[..., None]
    return np.where(valid[..., None], step, 0)


def _blur(heatmaps: np.ndarray, kernel: int) -> np.ndarray:
    """Gaussian blur that keeps each map's maximum: gaussian_blur."""
    blurred = np.empty_like(heatmaps)
    border = (kernel - 1) // 2
    height, width = heatmaps.shape[2:]
    for index in np.ndindex(*heatmaps.shape[:2]):
        padded = np.pad(heatmaps[index], border)
        padded = cv2.GaussianBlur(padded, (kernel, kernel), 0)
        one = padded[border:border + height, border:border + width]
        blurred[index] = one * (heatmaps[index].max() / one.max())
    return blurred
