"""Pictures of figures, and the annotations of what can be seen."""
from typing import Any, Dict, List, Tuple

import cv2
import numpy as np

from .figure import (CIRCLE, PARTS, SHIFT, SKINS, Figure, Shape, any_color,
                     capsule, hull, pick)

MIN_VISIBLE_KEYPOINTS = 5
MIN_IMAGE_SIZE = 64
# Id of the first part and shapes, from far to near.
Scene = List[Tuple[int, List[Shape]]]


def _fill(image: np.ndarray, points: np.ndarray, color: np.ndarray) -> None:
    """Fill the convex hull of points (N, 2), in place."""
    cv2.fillConvexPoly(image, hull(points), color.tolist(), cv2.LINE_AA, SHIFT)


def _smooth_noise(rng: np.random.Generator, image_size: Tuple[int, int],
                  cells: int, strength: float) -> np.ndarray:
    """Noise (H, W, 3) between ``-strength`` and ``strength``."""
    coarse = rng.uniform(-strength, strength, (cells, cells, 3))
    return cv2.resize(coarse.astype(np.float32), image_size)


def _sample_blob(rng: np.random.Generator, centre: np.ndarray,
                 radius: float) -> np.ndarray:
    """Outline (N, 2) of a random object: box, ellipse, polygon or bar."""
    kind = rng.integers(4)
    if kind == 0:
        points = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64)
    elif kind == 1:
        points = CIRCLE
    else:
        points = rng.uniform(-1, 1, (6, 2))
    turn = rng.uniform(-np.pi, np.pi) * (rng.random() < .5)
    axes = radius * rng.uniform(.4, 1, 2) * ((1, .25) if kind == 3 else 1)
    cos, sin = np.cos(turn), np.sin(turn)
    return centre + (points * axes) @ np.array([(cos, sin), (-sin, cos)])


def _render_background(rng: np.random.Generator,
                       image_size: Tuple[int, int]) -> np.ndarray:
    size = np.array(image_size)
    image = np.empty((size[1], size[0], 3), np.float32)
    image[:] = any_color(rng)
    for cells, strength in ((2, 70), (5, 35), (18, 25), (70, 18)):
        image += _smooth_noise(rng, image_size, cells,
                               rng.uniform(0, strength))
    image = cv2.convertScaleAbs(np.maximum(image, 0, out=image))
    if rng.random() < .5:
        horizon = rng.uniform(.4, .9) * size[1]
        floor = np.array([(0, horizon), (size[0], horizon + rng.normal(0, 9)),
                          size, (0, size[1])])
        _fill(image, floor, any_color(rng))
    for _ in range(rng.integers(3, 16)):
        blob = _sample_blob(rng,
                            rng.uniform(0, 1, 2) * size,
                            rng.uniform(.03, .25) * size[1])
        _fill(image, blob, any_color(rng))
    # Poles, branches and strips of skin colour, which are no limbs.
    for _ in range(rng.integers(0, 9)):
        start = rng.uniform(0, 1, 2) * size
        end = start + rng.normal(0, .25, 2) * size[1]
        color = pick(rng, SKINS) if rng.random() < .4 else any_color(rng)
        radii = rng.uniform(.003, .025, 2) * size[1]
        _fill(image, capsule((start, end), radii), color)
    if rng.random() < .4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(.6, 2.5))
    return image


def _degrade(rng: np.random.Generator, image: np.ndarray,
             texture: np.ndarray) -> np.ndarray:
    """Add cloth texture of strength (H, W), light, blur and sensor noise."""
    height, width = texture.shape
    grain = rng.standard_normal((height // 2, width // 2), np.float32)
    texture = texture * cv2.resize(grain, (width, height))
    light = _smooth_noise(rng, (width, height), 3, .2)
    light += np.float32(1 + rng.normal(0, .15))
    result = cv2.add(
        image, cv2.cvtColor(texture, cv2.COLOR_GRAY2BGR), dtype=cv2.CV_32F)
    result *= light
    if rng.random() < .35:
        result = cv2.GaussianBlur(result, (0, 0), rng.uniform(.4, 1.2))
    noise = rng.standard_normal((height, width), np.float32)
    noise *= np.float32(rng.uniform(0, 9))
    noise += np.float32(rng.normal(0, 10))
    return cv2.add(
        result, cv2.cvtColor(noise, cv2.COLOR_GRAY2BGR), dtype=cv2.CV_8U)


def _visibility(ids: np.ndarray, person: Figure, first_id: int) -> np.ndarray:
    """COCO flags (17, ) from the buffer (H, W) of part ids."""
    height, width = ids.shape
    flags = np.zeros(17, np.int64)
    for index, (x, y) in enumerate(person.keypoints):
        if 0 <= x <= width - 1 and 0 <= y <= height - 1:
            part = ids[int(round(y)), int(round(x))] - first_id
            flags[index] = 2 if part in person.owners[index] else 1
    return flags


def annotate(ids: np.ndarray, person: Figure, first_id: int) -> Dict[str, Any]:
    """Make the COCO annotation of a person.

    Args:
        ids (np.ndarray): The part id in front at each pixel, (H, W).
        person (Figure): The person.
        first_id (int): The id in ``ids`` of the person's first part.

    Returns:
        dict: ``keypoints`` (17 times x, y and flag, in pixels),
        ``num_keypoints``, ``bbox`` (x, y, w, h of the painted body inside the
        image, hidden or not), ``area`` (visible pixels), ``iscrowd`` and
        ``category_id``.
    """
    flags = _visibility(ids, person, first_id)
    points = np.round(person.keypoints, 2) * (flags > 0)[:, None]
    # The whole body, not its visible part, as for key points: a crop of the
    # box has to hold the occluded ones, too.
    body = _paint_ids([(1, person.shapes)], ids.shape[::-1]).astype(np.uint8)
    area = np.count_nonzero((ids >= first_id) & (ids < first_id + len(PARTS)))
    return dict(
        keypoints=np.column_stack([points, flags]).ravel().tolist(),
        num_keypoints=int(np.count_nonzero(flags)),
        bbox=list(cv2.boundingRect(body)),
        area=int(area),
        iscrowd=0,
        category_id=1)


def check_parameters(image_size: Tuple[int, int], max_people: int) -> None:
    if min(image_size) < MIN_IMAGE_SIZE or max_people < 1:
        raise ValueError(
            f'image_size={tuple(image_size)}, max_people={max_people}; use at '
            f'least {MIN_IMAGE_SIZE}x{MIN_IMAGE_SIZE} pixels and 1 person.')


def render_image(
        rng: np.random.Generator,
        image_size: Tuple[int, int] = (320, 240),
        max_people: int = 3) -> Tuple[np.ndarray, List[Dict[str, Any]]]:
    """Render people on a random background.

    Args:
        rng (np.random.Generator): The source of randomness; the picture
            depends on nothing else.
        image_size (tuple[int, int]): Width and height in pixels. Defaults to
            ``(320, 240)``.
        max_people (int): There are 1 to ``max_people`` people. Defaults to 3.

    Returns:
        tuple:
        - image (np.ndarray): BGR uint8 image of shape (H, W, 3).
        - annotations (list[dict]): One for each person, see
          :func:`annotate`. People with fewer than five visible key points
          are left out of the picture.

    Raises:
        ValueError: If a side is shorter than 64 pixels or ``max_people`` is
            less than 1.
    """
    check_parameters(image_size, max_people)
    people: Dict[int, Figure] = {}
    while not people:
        people, scene = _sample_scene(rng, image_size, max_people)
        ids = _paint_ids(scene, image_size)
        hidden = [
            first for first, person in people.items() if np.count_nonzero(
                _visibility(ids, person, first) == 2) < MIN_VISIBLE_KEYPOINTS
        ]
        if hidden:
            for first in hidden:
                del people[first]
            scene = [item for item in scene if item[0] not in hidden]
            ids = _paint_ids(scene, image_size)
    image = _render_background(rng, image_size)
    for _, shapes in scene:
        for _, outline, color in shapes:
            cv2.fillConvexPoly(image, outline, color, cv2.LINE_AA, SHIFT)
    # The ids of the people, and last that of the occluding objects.
    strength = np.zeros(1 + max_people * len(PARTS) + 1, np.float32)
    for first, person in people.items():
        strength[first:first + len(PARTS)] = person.texture
    image = _degrade(rng, image, strength[ids])
    return image, [
        annotate(ids, person, first) for first, person in people.items()
    ]


def _sample_scene(rng: np.random.Generator, image_size: Tuple[int, int],
                  max_people: int) -> Tuple[Dict[int, Figure], Scene]:
    """Sample people, by their first part id, and what to paint."""
    people = [
        Figure(rng, image_size)
        for _ in range(rng.integers(1, max_people + 1))
    ]
    people.sort(key=lambda person: person.height)
    scene, indexed = [], {}
    occluder_id = 1 + len(people) * len(PARTS)
    for number, person in enumerate(people):
        first = 1 + number * len(PARTS)
        indexed[first] = person
        scene.append((first, person.shapes))
        if rng.random() < .3:
            centre = person.keypoints[rng.integers(17)] + rng.normal(
                0, .05, 2) * person.height
            blob = _sample_blob(rng, centre,
                                rng.uniform(.06, .22) * person.height)
            shape = (0, hull(blob), any_color(rng).tolist())
            scene.append((occluder_id, [shape]))
    return indexed, scene


def _paint_ids(scene: Scene, image_size: Tuple[int, int]) -> np.ndarray:
    """Paint the buffer (H, W) of the part id in front, 0 for background."""
    ids = np.zeros(image_size[::-1], np.int32)
    for first, shapes in scene:
        for part, outline, _ in shapes:
            if part is not None:
                cv2.fillConvexPoly(ids, outline, first + part, cv2.LINE_8,
                                   SHIFT)
    return ids
