"""From an image and boxes to the inputs of a network, as MMPose does it."""
from typing import Sequence, Union

import numpy as np

# People of an image: at most, and at most in one call of the network.
MAX_PEOPLE = 10000
# Boxes lie within so many pixels of the origin.
MAX_COORDINATE = 10**6


def check_image(image: np.ndarray) -> None:
    """Check that an image is one that networks here take.

    Args:
        image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.

    Raises:
        ValueError: If it is not.
    """
    if not (isinstance(image, np.ndarray) and image.dtype == np.uint8
            and image.ndim == 3 and image.shape[2] == 3 and image.size):
        found = type(image).__name__
        if isinstance(image, np.ndarray):
            found = f'{image.dtype} of shape {image.shape}'
        raise ValueError('the image must be a BGR array, uint8 of shape '
                         f'(H, W, 3), got {found}')


def as_boxes(
        boxes: Union[np.ndarray, Sequence[Sequence[float]]]) -> np.ndarray:
    """Check boxes of people.

    Args:
        boxes (np.ndarray): Boxes of at most ``MAX_PEOPLE`` people, (left,
            top, right, bottom) in pixels, of shape ``(M, 4)``.

    Returns:
        np.ndarray: The boxes, float32 if they were, else float64.

    Raises:
        ValueError: If they are not as described, or a coordinate is not
            finite or further than ``MAX_COORDINATE`` pixels away.
    """
    try:
        boxes = np.asarray(boxes)
    # Lists of different lengths, and classes with ideas of their own.
    except Exception as error:
        raise ValueError('boxes must be an array of shape (M, 4), got '
                         f'{type(boxes).__name__} ({error})') from error
    if boxes.shape in ((0, ), (0, 4)):
        return np.empty((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'boxes must have the shape (M, 4), got '
                         f'{boxes.shape}')
    if boxes.dtype.kind not in 'iuf':
        raise ValueError(f'boxes must be numbers, got {boxes.dtype}')
    if len(boxes) > MAX_PEOPLE:
        raise ValueError(f'{len(boxes):,} boxes are more than the '
                         f'{MAX_PEOPLE:,} that are taken of one image')
    # As MMPose, which computes in the precision of the boxes.
    if boxes.dtype != np.float32:
        boxes = boxes.astype(np.float64)
    # Of NaN, too.
    near = (np.abs(boxes) <= MAX_COORDINATE).all(1)
    wrong = ~(near & (boxes[:, 2:] > boxes[:, :2]).all(1))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f'box {i} is {boxes[i].tolist()}; boxes are (left, top, right, '
            'bottom) with a right above left and a bottom above top, at most '
            f'{MAX_COORDINATE:,} pixels away')
    return boxes


def normalize(crops: np.ndarray, metadata: dict) -> np.ndarray:
    """What MMPose's data preprocessor makes of crops.

    Args:
        crops (np.ndarray): BGR crops, uint8 of shape ``(M, H, W, 3)``.
        metadata (dict): ``mean``, ``std`` and ``bgr_to_rgb``.

    Returns:
        np.ndarray: float32 of shape ``(M, 3, H, W)``.
    """
    if metadata['bgr_to_rgb']:
        crops = crops[..., ::-1]
    crops = (crops - np.float32(metadata['mean'])) / np.float32(
        metadata['std'])
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2))
