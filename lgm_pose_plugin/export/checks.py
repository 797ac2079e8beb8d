"""Check what an exported file computes against MMPose."""
from typing import Any, Dict, Sequence

import numpy as np

from .graph import ExportError, decode_maps

MAPS_TOLERANCE = 1e-4  # of 1, or of the largest value if that is more
KEYPOINTS_TOLERANCE = 0.05  # pixels of the crop


def check_maps(expected: Sequence[np.ndarray],
               found: Sequence[np.ndarray]) -> Dict[str, float]:
    """Check a file's heat maps or vectors against MMPose's.

    Args:
        expected (Sequence[np.ndarray]): MMPose's.
        found (Sequence[np.ndarray]): The file's.

    Returns:
        dict[str, float]: The largest difference and the tolerance,
        ``MAPS_TOLERANCE`` of 1 or of the largest value if that is more.

    Raises:
        ExportError: If the difference is above the tolerance.
    """
    difference = max(
        float(np.abs(a - b).max()) for a, b in zip(expected, found))
    largest = max(float(np.abs(maps).max()) for maps in expected)
    tolerance = MAPS_TOLERANCE * max(1, largest)
    if not difference <= tolerance:
        raise ExportError(
            f"the file's maps differ by {difference:.2g} from MMPose's, whose "
            f'largest value is {largest:.2g}')
    return dict(maps_max_difference=difference, maps_tolerance=tolerance)


def check_keypoints(codec: Any, expected: Sequence[np.ndarray],
                    found: Sequence[np.ndarray],
                    keypoints: np.ndarray) -> Dict[str, Any]:
    """Check a file's key points against what MMPose decodes from its maps.

    Where two places of a map are equally high, or a quarter pixel may go
    either way, rounding decides; such key points are tied and not compared.
    They are found by decoding, with the codec, MMPose's maps, the file's, and
    MMPose's with a millionth of their maximum added as noise: a key point is
    tied if these differ by more than half the tolerance. Neither is it
    compared where no value is above zero, since then MMPose's UDP refines -1.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec.
        expected (Sequence[np.ndarray]): MMPose's maps.
        found (Sequence[np.ndarray]): The file's.
        keypoints (np.ndarray): The file's key points, ``(N, K, 2)``.

    Returns:
        dict: The numbers of compared and of all other key points, and the
        largest difference in pixels of the crop.

    Raises:
        ExportError: If the difference is above ``KEYPOINTS_TOLERANCE``, or
            all key points are tied.
    """
    rng = np.random.default_rng(0)
    noisy = [
        maps + np.float32(1e-6) * np.abs(maps).max() *
        rng.uniform(-1, 1, maps.shape).astype(np.float32) for maps in expected
    ]
    wanted, scores = decode_maps(codec, expected)
    decoded = np.stack(
        [wanted, *(decode_maps(codec, maps)[0] for maps in (found, noisy))])
    tied = np.ptp(decoded, axis=0).max(2) > KEYPOINTS_TOLERANCE / 2
    tied |= scores <= 0
    if tied.all():
        raise ExportError(
            'no key point could be compared: rounding decides where each one '
            'is, as in a network that was not trained')
    difference = float(np.abs(keypoints - wanted)[~tied].max())
    if not difference <= KEYPOINTS_TOLERANCE:
        raise ExportError(
            f"the file's key points differ by {difference:.3g} px from "
            f"MMPose's, more than {KEYPOINTS_TOLERANCE:g} px")
    return dict(
        compared_keypoints=int((~tied).sum()),
        other_keypoints=int(tied.sum()),
        keypoints_max_difference_px=difference,
        keypoints_tolerance_px=KEYPOINTS_TOLERANCE)
