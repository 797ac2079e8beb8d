"""From an image and boxes to the inputs of a network, as MMPose does it."""
from typing import Any, Dict, Sequence, Tuple, Union

import cv2
import numpy as np

Boxes = Union[np.ndarray, Sequence[Sequence[float]]]
# People of an image at most.
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
        raise ValueError(
            'the image must be a BGR array, uint8 of shape (H, W, 3), got '
            f'{getattr(image, "dtype", type(image))} of shape '
            f'{getattr(image, "shape", ())}')


def as_boxes(boxes: Boxes) -> np.ndarray:
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
    # Of lists of different lengths, and whatever a class of its own raises.
    except Exception as error:
        raise ValueError('boxes must be an array of shape (M, 4), got '
                         f'{type(boxes).__name__} ({error})') from error
    if boxes.shape in ((0, ), (0, 4)):
        return np.empty((0, 4))
    if not (boxes.ndim == 2 and boxes.shape[1] == 4
            and boxes.dtype.kind in 'iuf' and len(boxes) <= MAX_PEOPLE):
        raise ValueError(
            'boxes must be numbers of shape (M, 4), of at most '
            f'{MAX_PEOPLE:,} people, got {boxes.dtype} of shape {boxes.shape}')
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
            'bottom) with right > left and bottom > top, at most '
            f'{MAX_COORDINATE:,} pixels away')
    return boxes


def centers_and_scales(
        boxes: np.ndarray,
        metadata: Dict[str, Any]) -> Tuple[np.ndarray, np.ndarray]:
    """Centres and sizes of crops, as GetBBoxCenterScale and TopdownAffine.

    Args:
        boxes (np.ndarray): What :func:`as_boxes` returned.
        metadata (dict): ``padding`` and ``input_size``.

    Returns:
        tuple[np.ndarray, np.ndarray]: Centres and padded sizes (width,
        height) in image pixels, both of shape ``(M, 2)``.
    """
    sizes = (boxes[:, 2:] - boxes[:, :2]) * metadata['padding']
    centers = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    # TopdownAffine._fix_aspect_ratio
    width, height = metadata['input_size']
    ratio = width / height
    w, h = sizes[:, :1], sizes[:, 1:]
    return centers, np.where(w > h * ratio, np.hstack([w, w / ratio]),
                             np.hstack([h * ratio, h]))


def crop_people(image: np.ndarray, centers: np.ndarray, scales: np.ndarray,
                metadata: Dict[str, Any]) -> np.ndarray:
    """Cut people out of an image, as TopdownAffine.

    Args:
        image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
        centers (np.ndarray): See :func:`centers_and_scales`.
        scales (np.ndarray): As ``centers``.
        metadata (dict): ``input_size`` and ``use_udp``.

    Returns:
        np.ndarray: The crops, uint8 of shape ``(M, height, width, 3)``.

    Raises:
        ValueError: If a box has no extent that can be told, or the image is
            too large for OpenCV.
    """
    width, height = metadata['input_size']
    crops = np.empty((len(centers), height, width, 3), np.uint8)
    for crop, center, scale in zip(crops, centers, scales):
        if metadata['use_udp']:
            # get_udp_warp_matrix without rotation
            matrix = np.zeros((2, 3), np.float32)
            for axis, size in enumerate((width, height)):
                factor = (size - 1) / scale[axis]
                matrix[axis, axis] = factor
                matrix[axis, 2] = factor * (0.5 * scale[axis] - center[axis])
        else:
            # get_warp_matrix without rotation: the centre, the middle of the
            # left side, and the point a quarter turn from the centre around
            # that middle
            source = np.zeros((3, 2), np.float32)
            source[0] = center
            source[1] = center + (-0.5 * scale[0], 0)
            source[2] = source[1] + (0, source[0, 0] - source[1, 0])
            target = np.array([[0.5 * width, 0.5 * height], [0, 0.5 * height],
                               [0, 0.5 * height + 0.5 * width]], np.float32)
            matrix = cv2.getAffineTransform(source, target)
        if not np.isfinite(matrix).all():
            raise ValueError(f'the box of size {scale.tolist()} around '
                             f'{center.tolist()} cannot be warped')
        try:
            crop[:] = cv2.warpAffine(
                image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        # Of images too large for it: OpenCV 4 takes less than 32,767 pixels.
        except cv2.error as error:
            raise ValueError(
                'OpenCV cannot warp an image of '
                f'{image.shape[1]}x{image.shape[0]} pixels ({error}); make it '
                'smaller') from error
    return crops


def letterbox(image: np.ndarray,
              size: Sequence[int],
              pad_value: Sequence[int],
              rounding: float = 0.5) -> Tuple[np.ndarray, Tuple[float, float]]:
    """Resize an image to fit in the top left of a canvas, as MMDetection.

    Args:
        image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.
        size (Sequence[int]): Width and height of the canvas.
        pad_value (Sequence[int]): B, G and R of what the image leaves free.
        rounding (float): What is added to the image's new width and height
            before the fraction is cut off. Defaults to 0.5.

    Returns:
        tuple[np.ndarray, tuple[float, float]]: The canvas, uint8 of shape
        ``(size[1], size[0], 3)``, and the factors that the image's width and
        height were multiplied by.
    """
    height, width = image.shape[:2]
    ratio = min(size[0] / width, size[1] / height)
    # At least one pixel of images that are very thin.
    new_width, new_height = (
        max(1, int(side * ratio + rounding)) for side in (width, height))
    canvas = np.full((size[1], size[0], 3), pad_value, np.uint8)
    canvas[:new_height, :new_width] = cv2.resize(
        image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return canvas, (new_width / width, new_height / height)


def normalize(crops: np.ndarray, metadata: Dict[str, Any]) -> np.ndarray:
    """What MMPose's data preprocessor makes of crops.

    Args:
        crops (np.ndarray): BGR crops, uint8 of shape ``(M, H, W, 3)``.
        metadata (dict): ``mean``, ``std`` and ``bgr_to_rgb``.

    Returns:
        np.ndarray: float32 of shape ``(M, 3, H, W)``.
    """
    if metadata['bgr_to_rgb']:
        crops = crops[..., ::-1]
    mean, std = (
        np.array(metadata[key], np.float32) for key in ('mean', 'std'))
    return np.ascontiguousarray(((crops - mean) / std).transpose(0, 3, 1, 2))
