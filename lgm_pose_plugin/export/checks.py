"""Check what an exported file computes against MMPose."""
from typing import Any, Dict, Sequence

import numpy as np

from .graph import ExportError, decode_maps

# Of 1, or of the largest value if that is more.
MAPS_TOLERANCE = dict(float32=1e-4, float16=2e-2)
KEYPOINTS_TOLERANCE = dict(float32=0.05, float16=0.5)  # pixels of the crop
NOISE = dict(float32=1e-6, float16=1e-3)  # of the largest value


def check_maps(expected: Sequence[np.ndarray],
               found: Sequence[np.ndarray],
               precision: str = 'float32') -> Dict[str, float]:
    """Check a file's heat maps or vectors against MMPose's.

    Args:
        expected (Sequence[np.ndarray]): MMPose's.
        found (Sequence[np.ndarray]): The file's.
        precision (str): The file's, ``'float32'`` or ``'float16'``. Defaults
            to ``'float32'``.

    Returns:
        dict[str, float]: The largest difference and the tolerance,
        ``MAPS_TOLERANCE`` of 1 or of the largest value if that is more.

    Raises:
        ExportError: If the difference is above the tolerance.
    """
    difference = max(
        float(np.abs(a - b).max()) for a, b in zip(expected, found))
    largest = max(float(np.abs(maps).max()) for maps in expected)
    tolerance = MAPS_TOLERANCE[precision] * max(1, largest)
    if not difference <= tolerance:
        raise ExportError(
            f"the file's maps differ by {difference:.2g} from MMPose's, whose "
            f'largest value is {largest:.2g}')
    return dict(maps_max_difference=difference, maps_tolerance=tolerance)


def check_keypoints(codec: Any,
                    expected: Sequence[np.ndarray],
                    found: Sequence[np.ndarray],
                    keypoints: np.ndarray,
                    precision: str = 'float32') -> Dict[str, Any]:
    """Check a file's key points against what MMPose decodes from its maps.

    Where two places of a map are equally high, or a quarter pixel may go
    either way, rounding decides; such key points are tied and not compared.
    They are found by decoding, with the codec, MMPose's maps, the file's, and
    MMPose's with ``NOISE`` of their maximum added: a key point is tied if
    these differ by more than half the tolerance. Neither is it compared where
    no value is above zero, since then MMPose's UDP refines -1.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec.
        expected (Sequence[np.ndarray]): MMPose's maps.
        found (Sequence[np.ndarray]): The file's.
        keypoints (np.ndarray): The file's key points, ``(N, K, 2)``.
        precision (str): See :func:`check_maps`.

    Returns:
        dict: The numbers of compared and of all other key points, and the
        largest difference in pixels of the crop.

    Raises:
        ExportError: If the difference is above ``KEYPOINTS_TOLERANCE``, or
            all key points are tied.
    """
    rng, tolerance = np.random.default_rng(0), KEYPOINTS_TOLERANCE[precision]
    noisy = [
        maps + np.float32(NOISE[precision]) * np.abs(maps).max() *
        rng.uniform(-1, 1, maps.shape).astype(np.float32) for maps in expected
    ]
    wanted, scores = decode_maps(codec, expected)
    decoded = np.stack(
        [wanted, *(decode_maps(codec, maps)[0] for maps in (found, noisy))])
    tied = np.ptp(decoded, axis=0).max(2) > tolerance / 2
    tied |= scores <= 0
    if tied.all():
        raise ExportError(
            'no key point could be compared: rounding decides where each one '
            'is, as in a network that was not trained')
    difference = float(np.abs(keypoints - wanted)[~tied].max())
    if not difference <= tolerance:
        raise ExportError(
            f"the file's key points differ by {difference:.3g} px from "
            f"MMPose's, more than {tolerance:g} px")
    return dict(
        compared_keypoints=int((~tied).sum()),
        other_keypoints=int(tied.sum()),
        keypoints_max_difference_px=difference,
        keypoints_tolerance_px=tolerance)
