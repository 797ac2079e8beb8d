"""Rendered articulated people as a COCO key-point data set.

A kinematic figure is posed by joint angles in 3-D, seen by an orthographic
camera and painted limb by limb. Every picture has its buffer of part ids, and
the annotations come from the same figure and the same buffer, so they are
exact. Pixel ``(x, y)`` has its centre at ``(x, y)``, as in OpenCV.

Frames are right-handed: x to the person's left, y up, z forward; seen by the
camera, x to the right, y up, z towards the viewer. Lengths of the body are in
units of its standing height, angles in degrees.
"""
import json
import os
import os.path as osp
import shutil
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from mmpose.datasets import CocoDataset
from .datasets.coco_format import person_category
from .outputs import write_json
from .progress import with_bar

DESCRIPTION = 'Rendered people of lgm_pose_plugin'
# Raised with any change of the pictures, so that old data sets are not taken
# for new ones.
RENDERER_VERSION = '1.0'
MIN_VISIBLE_KEYPOINTS = 5
MIN_IMAGE_SIZE = 64

# Ranges of (abduction, flexion, external rotation, elbow flexion).
ARM_POSES = np.array([
    [(3, 15), (-12, 12), (-40, 10), (0, 30)],  # hanging
    [(3, 15), (-12, 12), (-40, 10), (0, 30)],
    [(4, 12), (15, 45), (-30, 0), (20, 90)],  # swung forwards
    [(4, 12), (-45, -15), (-30, 0), (10, 80)],  # swung backwards
    [(35, 55), (-25, -5), (-80, -50), (75, 110)],  # hand on the hip
    [(135, 175), (-10, 15), (-30, 60), (0, 50)],  # raised
    [(70, 110), (-10, 15), (60, 110), (40, 110)],  # waving
    [(60, 110), (-15, 25), (-30, 30), (0, 35)],  # stretched to the side
    [(0, 20), (45, 110), (-30, 10), (0, 60)],  # reaching forwards
    [(5, 25), (0, 40), (-70, -20), (60, 125)],  # hand before the chest
], np.float64)  # yapf: disable
# The same with knee flexion: a range for one leg, a range for the other.
LEG_POSES = np.array([
    [[(0, 10), (-6, 8), (0, 25), (0, 10)]] * 2,  # standing
    [[(0, 10), (-6, 8), (0, 25), (0, 10)]] * 2,
    [[(12, 40), (-5, 15), (0, 30), (0, 25)]] * 2,  # legs apart
    [[(0, 6), (12, 35), (0, 10), (0, 20)],
     [(0, 6), (-25, -8), (0, 10), (5, 40)]],  # walking
    [[(0, 8), (30, 75), (0, 10), (30, 95)],
     [(0, 8), (-30, 0), (0, 10), (30, 110)]],  # running
    [[(0, 22), (70, 100), (0, 15), (60, 105)]] * 2,  # sitting
    [[(2, 35), (40, 110), (0, 30), (60, 130)]] * 2,  # crouching
    [[(0, 6), (0, 5), (0, 15), (0, 5)],
     [(2, 45), (20, 100), (0, 40), (20, 110)]],  # one leg lifted
], np.float64)  # yapf: disable

SIDES = ('left', 'right')
PARTS = ('torso', 'pelvis', 'neck', 'head', 'hair', 'nose') + tuple(
    f'{side}_{part}' for part in ('eye', 'ear', 'upper_arm', 'forearm', 'hand',
                                  'thigh', 'shank', 'foot') for side in SIDES)
PART_INDEX = {name: index for index, name in enumerate(PARTS)}
# Limbs: left key point they start from (the next joint is two further on),
# length, radii at the start and at the end.
LIMBS = dict(
    upper_arm=(5, .172, .034, .027),
    forearm=(7, .148, .027, .019),
    hand=(9, .055, .020, .017),
    thigh=(11, .245, .060, .042),
    shank=(13, .245, .041, .025),
    foot=(15, .110, .027, .018))
SHOULDER = np.array([.112, .19, 0.])  # from the waist
HIP = np.array([.058, 0., 0.])
WAIST = np.array([0., .10, 0.])
HEAD = np.array([0., .31, .012])  # from the waist
HEAD_AXES = np.array([.060, .088, .074])
EYE = np.array([.028, .012, .065])  # from the centre of the head
EAR = np.array([.063, -.006, -.006])
NOSE = np.array([0., -.020, .086])

SKINS = np.array([(198, 216, 246), (165, 192, 232), (120, 160, 210),
                  (80, 118, 172), (52, 78, 122), (36, 50, 78)], np.float64)
HAIRS = np.array([(20, 20, 24), (28, 42, 66), (40, 70, 120), (90, 160, 215),
                  (150, 150, 150), (30, 60, 160)], np.float64)
_TURN = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_RING = np.stack([_CIRCLE[:, 0], np.zeros(16), _CIRCLE[:, 1]], axis=1)
_SPHERE = np.concatenate([
    np.stack([
        np.cos(lat) * _CIRCLE[:, 0],
        np.full(16, np.sin(lat)),
        np.cos(lat) * _CIRCLE[:, 1]
    ], axis=1) for lat in np.radians(np.linspace(-90, 90, 13))
])  # yapf: disable
_SHIFT = 4  # fractional bits of the corners given to OpenCV

# Index in PARTS (None for decoration inside the part before it), convex
# outline (N, 1, 2) in fixed point, BGR colour.
Shape = Tuple[Optional[int], np.ndarray, List[float]]
# Id of the first part and shapes, from far to near.
Scene = List[Tuple[int, List[Shape]]]


class Person(NamedTuple):
    """A posed figure in the picture.

    Attributes:
        keypoints (np.ndarray): COCO key points in pixels, (17, 2).
        owners (list[set[int]]): For each key point the indices in ``PARTS``
            of the parts that may cover it without hiding it.
        shapes (list[Shape]): What to paint, far to near.
        texture (np.ndarray): Strength of the texture of each part, (P, ).
        height (float): The standing height in pixels.
    """
    keypoints: np.ndarray
    owners: List[set]
    shapes: List[Shape]
    texture: np.ndarray
    height: float


class _Figure:
    """Joints (17, 3), frames and parts of a figure before its projection."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.frames = rng, _sample_frames(rng)
        self.build = rng.uniform(.85, 1.25)
        self.light = rng.uniform(-.5, .5, 2)
        self.parts: List[Tuple[float, str, List[tuple]]] = []
        self._place_joints()
        self._dress()
        self._add_trunk()
        self._add_head()
        for side in range(2):
            self._add_limbs(side)
        self.parts.sort(key=lambda part: part[0])

    def _place_joints(self) -> None:
        frames, stretch = self.frames, self.rng.uniform(.93, 1.07, len(LIMBS))
        self.joints = joints = np.zeros((17, 3))
        self.waist = frames['root'] @ WAIST
        self.head_size = self.rng.uniform(.95, 1.3)
        self.head = self.waist + frames['torso'] @ HEAD
        self.head += frames['head'] @ (0, (self.head_size - 1) * .07, 0)
        self.ends = {}
        for side, name in enumerate(SIDES):
            mirror = np.array([1 - 2 * side, 1, 1])
            joints[1 + side] = self._on_head(EYE * mirror)
            joints[3 + side] = self._on_head(EAR * mirror)
            joints[5 + side] = self.waist + frames['torso'] @ (
                SHOULDER * mirror)
            joints[11 + side] = frames['root'] @ (HIP * mirror * self.build)
            for (part, bone), factor in zip(LIMBS.items(), stretch):
                start, length = joints[bone[0] + side], bone[1] * factor
                along = (0, -.35, .94) if part == 'foot' else (0, -1, 0)
                end = start + frames[f'{name}_{part}'] @ along * length
                self.ends[f'{name}_{part}'] = start, end
                if part not in ('hand', 'foot'):
                    joints[bone[0] + 2 + side] = end
        joints[0] = self._on_head(NOSE)

    def _on_head(self, point: np.ndarray) -> np.ndarray:
        """Camera coordinates of points (..., 3) of the head's frame."""
        return self.head + self.head_size * point @ self.frames['head'].T

    def _dress(self) -> None:
        rng = self.rng
        skin = _pick(rng, SKINS)
        self.skin, self.hair = skin, _pick(rng, HAIRS)
        shirt, trousers, shoes, self.trim = (_any_color(rng) for _ in range(4))
        sleeve = rng.choice(['long', 'short', 'none'], p=[.45, .4, .15])
        legs = rng.choice(['long', 'short'], p=[.7, .3])
        self.colors = dict(
            torso=shirt,
            pelvis=trousers,
            upper_arm=skin if sleeve == 'none' else shirt,
            forearm=shirt if sleeve == 'long' else skin,
            hand=skin,
            thigh=trousers,
            shank=trousers if legs == 'long' else skin,
            foot=shoes)
        chosen = [
            cloth for cloth, rate in ((shirt, .3), (trousers, .1))
            if rng.random() < rate
        ]
        self.striped = [
            part for part, color in self.colors.items()
            if any(color is cloth for cloth in chosen)
        ]
        self.stripes = rng.integers(3, 8)
        # Strength of the texture of each part.
        self.texture = np.full(len(PARTS), 2.)
        self.texture[PART_INDEX['torso']] = rng.uniform(0, 16)
        trousers_parts = ('pelvis', 'left_thigh', 'right_thigh')
        self.texture[[PART_INDEX[part]
                      for part in trousers_parts]] = rng.uniform(0, 16)
        self.texture[PART_INDEX['hair']] = 12

    def _add(self, name: str, depth: float, layers: List[tuple]) -> None:
        self.parts.append((depth, name, layers))

    def _add_limbs(self, side: int) -> None:
        for part, (_, _, *radii) in LIMBS.items():
            name = f'{SIDES[side]}_{part}'
            start, end = self.ends[name]
            depth = (start[2] + end[2]) / 2
            # Limbs farther away are darker, as under a light at the camera.
            color = self.colors[part] * min(max(.92 + depth, .65), 1.15)
            radii = np.array(radii) * self.build
            shift = self.light * radii[1]
            layers = [(_capsule(start, end, radii), color),
                      (_capsule(start[:2] + shift, end[:2] + shift,
                                radii * .5), color * 1.1 + 5)]
            if part in self.striped:
                across = np.array([start[1] - end[1], end[0] - start[0]])
                across /= np.hypot(*across) + 1e-9
                edges = across * np.array([[[1]], [[-1]]])
                layers += self._stripe(
                    (start[:2] + edges * radii[0]).reshape(2, 2),
                    (end[:2] + edges * radii[1]).reshape(2, 2), 4)
            # In front of the trunk when side by side with it.
            self._add(name, depth + .025 + .002 * (part == 'hand'), layers)

    def _stripe(self, start: np.ndarray, end: np.ndarray,
                number: int) -> List[tuple]:
        """Bands between two cuts (N, 2 or 3) through a part."""
        layers = []
        for low in (np.arange(number) + .3) / number:
            band = [
                start * (1 - t) + end * t for t in (low, low + .4 / number)
            ]
            layers.append((np.concatenate(band), self.trim))
        return layers

    def _add_trunk(self) -> None:
        torso, root = self.frames['torso'], self.frames['root']

        def ring(centre, frame, y, width, depth):
            points = _RING * (width, 0, depth) * self.build + (0, y, 0)
            return centre + points @ frame.T

        width = SHOULDER[0] / self.build
        neck = ring(self.waist, torso, .215, .045, .035)
        shoulders = ring(self.waist, torso, .175, width, .058)
        belly = ring(self.waist, torso, -.03, .088, .062)
        waist = ring(np.zeros(3), root, .11, .088, .06)
        hips = ring(np.zeros(3), root, -.015, .098, .066)
        color = self.colors['torso']
        layers = [(np.concatenate([neck, shoulders, belly]), color)]
        layers.append((np.concatenate([shoulders, belly]) * .6 + .4 *
                       (self.waist + torso @ (0, .1, .03)), color * 1.04 + 2))
        if 'torso' in self.striped:
            layers += self._stripe(shoulders, belly, self.stripes)
        # Only the front has a neckline and buttons, the back is plain.
        if torso[2, 2] > 0:
            front = np.array([(-.036, .207, .03), (.036, .207, .03),
                              (0, .14, .062)]) * (1, 1, self.build)
            layers.append((self.waist + front @ torso.T, self.skin * .95))
            for y in (.1, .06, .02):
                button = self.waist + torso @ (0, y, .06 * self.build)
                disc = _capsule(button, button, (.01, .01))
                layers.append((disc, self.trim))
        middle = self.waist[2] + (torso @ (0, .09, 0))[2]
        self._add('torso', middle, layers)
        pelvis = [(np.concatenate([waist, hips]), self.colors['pelvis'])]
        self._add('pelvis', self.waist[2] / 2 - .001, pelvis)
        base = self.waist + torso @ (0, .2, -.005)
        neck = _capsule(base, self._on_head(np.array((0, -.05, -.01))),
                        (.036, .03))
        self._add('neck', base[2] - .01, [(neck, self.skin * .88)])

    def _add_head(self) -> None:
        frame, size = self.frames['head'], self.head_size
        facing = _SPHERE @ (frame[2] / HEAD_AXES) > -1
        base = self.head[2] + .03
        surface = self._on_head(_SPHERE * HEAD_AXES)
        face = [(surface, self.skin)]
        if frame[2, 2] > 0:
            corners = np.array([(-.018, -.048, .06), (.018, -.048, .06)])
            mouth = _capsule(*self._on_head(corners), (.005, .005))
            face.append((mouth, self.skin * (.6, .55, .8)))
        self._add('head', base, face)
        # What hair covers of the skull: its back and its top.
        back, top = self.rng.uniform(-.3, .05), self.rng.uniform(.45, .7)
        height, front = _SPHERE[:, 1], _SPHERE[:, 2]
        for part in (front < back + .35 * height, height > top):
            if np.any(part & facing):
                lock = self._on_head(_SPHERE[part & facing] * HEAD_AXES * 1.06)
                self._add('hair', base + .001, [(lock, self.hair)])
        if self.rng.random() < .4:
            tail = self._on_head(np.array([(0, 0, -.04), (0, -.14, -.055)]))
            radii = np.array((.062, .05)) * size
            self._add('hair', tail[:, 2].mean() + .01,
                      [(_capsule(*tail, radii), self.hair * .9)])
        bridge = self._on_head(np.array((0, .01, .068)))
        nose = _capsule(bridge, self.joints[0], (.007 * size, .013 * size))
        features = [('nose', 0, [(nose, self.skin * .8)])]
        for side, name in enumerate(SIDES):
            eye, ear = self.joints[1 + side], self.joints[3 + side]
            white, pupil = (
                _capsule(eye, eye, (r * size, ) * 2) for r in (.015, .010))
            features.append((f'{name}_eye', 1 + side, [(white, (235, ) * 3),
                                                       (pupil, (40, 30, 25))]))
            lobe = ear - frame[:, 1] * .012 * size
            shell = _capsule(ear, lobe, (.017 * size, .012 * size))
            features.append(
                (f'{name}_ear', 3 + side, [(shell, self.skin * .82)]))
        for name, index, layers in features:
            front = self.joints[index, 2] > self.head[2]
            self._add(name, base + (.002 if front else -.002), layers)

    def owners(self) -> List[set]:
        """Parts that may cover each key point without hiding it."""
        owners: List[set] = [set() for _ in range(17)]
        owners[0].add(PART_INDEX['nose'])
        for side, name in enumerate(SIDES):
            owners[1 + side].add(PART_INDEX[f'{name}_eye'])
            owners[3 + side].add(PART_INDEX[f'{name}_ear'])
            for part, (start, *_) in LIMBS.items():
                owners[start + side].add(PART_INDEX[f'{name}_{part}'])
                if part not in ('hand', 'foot'):
                    owners[start + 2 + side].add(PART_INDEX[f'{name}_{part}'])
        # Shoulders and hips lie inside the trunk: seen through its surface
        # unless the body is turned so far that they are behind it.
        for first, parts in ((5, ('torso', )), (11, ('torso', 'pelvis'))):
            middle = self.joints[first:first + 2].mean(axis=0)
            for index in (first, first + 1):
                offset = self.joints[index] - middle
                if offset[2] > -.75 * np.linalg.norm(offset):
                    owners[index] |= {PART_INDEX[part] for part in parts}
        return owners


def _pick(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    color = palette[rng.integers(len(palette))]
    return np.clip(color * rng.uniform(.85, 1.1) + rng.normal(0, 6, 3), 0, 255)


def _any_color(rng: np.random.Generator) -> np.ndarray:
    """A colour (3, ), more often dull than bright."""
    color = rng.uniform(5, 250, 3)
    return color.mean() + (color - color.mean()) * rng.random()


def _capsule(start: np.ndarray, end: np.ndarray,
             radii: Sequence[float]) -> np.ndarray:
    """Circles (32, 2) around two points, whose hull is a tapered limb."""
    return np.concatenate(
        [start[:2] + _CIRCLE * radii[0], end[:2] + _CIRCLE * radii[1]])


def _sample_frames(rng: np.random.Generator) -> Dict[str, np.ndarray]:
    """Sample a pose: rotations (3, 3) from each part's frame to the camera."""
    views = [0, 180, 90, -90, rng.uniform(-180, 180)]
    view = rng.choice(views, p=[.35, .2, .12, .12, .21]) + rng.normal(0, 15)
    roll = rng.normal(0, 30 if rng.random() < .15 else 6)
    bend = rng.uniform(25, 85) if rng.random() < .12 else rng.normal(4, 7)
    angles = [
        (roll, rng.normal(6, 7), view),
        (rng.normal(0, 6), bend, rng.normal(0, 10)),
        (rng.normal(0, 7), rng.normal(-.3 * bend, 9), rng.normal(0, 22)),
    ]
    arms = [rng.uniform(*row.T) for row in rng.choice(ARM_POSES, 2)]
    legs = [rng.uniform(*row.T) for row in rng.permutation(
        LEG_POSES[rng.integers(len(LEG_POSES))])]  # yapf: disable
    for limbs, sign in ((arms, -1), (legs, 1)):
        for side, (abduction, flexion, rotation, hinge) in zip((1, -1), limbs):
            angles.append((side * abduction, -flexion, side * rotation))
            angles.append((0, sign * hinge, 0))
    local = Rotation.from_euler('ZXY', angles, degrees=True).as_matrix()
    frames = dict(root=local[0], torso=local[0] @ local[1])
    frames['head'] = frames['torso'] @ local[2]
    rows = iter(local[3:])
    for parts, base in ((('upper_arm', 'forearm', 'hand'), 'torso'),
                        (('thigh', 'shank', 'foot'), 'root')):
        for side in SIDES:
            first, second, third = (f'{side}_{part}' for part in parts)
            frames[first] = frames[base] @ next(rows)
            frames[second] = frames[third] = frames[first] @ next(rows)
    return frames


def sample_person(rng: np.random.Generator, image_size: Tuple[int,
                                                              int]) -> Person:
    """Sample a figure and its place in the picture.

    Args:
        rng (np.random.Generator): The source of randomness.
        image_size (tuple[int, int]): Width and height of the picture.

    Returns:
        Person: The figure, which may lie partly outside the picture.
    """
    figure = _Figure(rng)
    size = np.array(image_size)
    height = min(size[1], size[0] * 1.3) * np.exp(
        rng.uniform(np.log(.42), np.log(1.05)))
    scale = np.array([height, -height])
    keypoints = figure.joints[:, :2] * scale
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    # Keep the body inside where it fits, but let a part of it stick out.
    room = np.maximum(size - (high - low), 0) / 2 + .12 * (high - low)
    centre = size / 2 + rng.uniform(-1, 1, 2) * room
    offset = centre - (low + high) / 2
    parts, outlines, colors = zip(*(
        (PART_INDEX[name] if number == 0 else None, layer[0], layer[1])
        for _, name, layers in figure.parts
        for number, layer in enumerate(layers)))  # yapf: disable
    points = np.concatenate([points[:, :2] for points in outlines])
    points = points * scale + offset
    cuts = np.cumsum([len(outline) for outline in outlines])[:-1]
    shapes = list(
        zip(parts, [_hull(part) for part in np.split(points, cuts)],
            np.clip(colors, 0, 255).tolist()))
    return Person(keypoints + offset, figure.owners(), shapes, figure.texture,
                  height)


def _hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of points (N, 2) in fixed point."""
    return cv2.convexHull(np.rint(points * (1 << _SHIFT)).astype(np.int32))


def _fill(image: np.ndarray, points: np.ndarray, color: np.ndarray) -> None:
    """Fill the convex hull of points (N, 2), in place."""
    cv2.fillConvexPoly(image, _hull(points), color.tolist(), cv2.LINE_AA,
                       _SHIFT)


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
        points = _CIRCLE
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
    image[:] = _any_color(rng)
    for cells, strength in ((2, 70), (5, 35), (18, 25), (70, 18)):
        image += _smooth_noise(rng, image_size, cells,
                               rng.uniform(0, strength))
    image = cv2.convertScaleAbs(np.maximum(image, 0, out=image))
    if rng.random() < .5:
        horizon = rng.uniform(.4, .9) * size[1]
        floor = np.array([(0, horizon), (size[0], horizon + rng.normal(0, 9)),
                          size, (0, size[1])])
        _fill(image, floor, _any_color(rng))
    for _ in range(rng.integers(3, 16)):
        blob = _sample_blob(rng,
                            rng.uniform(0, 1, 2) * size,
                            rng.uniform(.03, .25) * size[1])
        _fill(image, blob, _any_color(rng))
    # Poles, branches and strips of skin colour, which are no limbs.
    for _ in range(rng.integers(0, 9)):
        start = rng.uniform(0, 1, 2) * size
        end = start + rng.normal(0, .25, 2) * size[1]
        color = _pick(rng, SKINS) if rng.random() < .4 else _any_color(rng)
        radii = rng.uniform(.003, .025, 2) * size[1]
        _fill(image, _capsule(start, end, radii), color)
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


def _visibility(ids: np.ndarray, person: Person, first_id: int) -> np.ndarray:
    """COCO flags (17, ) from the buffer (H, W) of part ids."""
    height, width = ids.shape
    flags = np.zeros(17, np.int64)
    for index, (x, y) in enumerate(person.keypoints):
        if 0 <= x <= width - 1 and 0 <= y <= height - 1:
            part = ids[int(round(y)), int(round(x))] - first_id
            flags[index] = 2 if part in person.owners[index] else 1
    return flags


def annotate(ids: np.ndarray, person: Person, first_id: int) -> Dict[str, Any]:
    """Make the COCO annotation of a person.

    Args:
        ids (np.ndarray): The part id in front at each pixel, (H, W).
        person (Person): The person.
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


def _check_parameters(image_size: Tuple[int, int], max_people: int) -> None:
    if min(image_size) < MIN_IMAGE_SIZE:
        raise ValueError(f'image_size={tuple(image_size)} is too small to '
                         'recognise people in; use at least '
                         f'{MIN_IMAGE_SIZE}x{MIN_IMAGE_SIZE}.')
    if max_people < 1:
        raise ValueError(f'max_people={max_people} leaves nobody to render; '
                         'use at least 1.')


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
    _check_parameters(image_size, max_people)
    people: Dict[int, Person] = {}
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
        for _, hull, color in shapes:
            cv2.fillConvexPoly(image, hull, color, cv2.LINE_AA, _SHIFT)
    # The ids of the people, and last that of the occluding objects.
    strength = np.zeros(1 + max_people * len(PARTS) + 1, np.float32)
    for first, person in people.items():
        strength[first:first + len(PARTS)] = person.texture
    image = _degrade(rng, image, strength[ids])
    return image, [
        annotate(ids, person, first) for first, person in people.items()
    ]


def _sample_scene(rng: np.random.Generator, image_size: Tuple[int, int],
                  max_people: int) -> Tuple[Dict[int, Person], Scene]:
    """Sample people, by their first part id, and what to paint."""
    people = [
        sample_person(rng, image_size)
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
            shape = (0, _hull(blob), _any_color(rng).tolist())
            scene.append((occluder_id, [shape]))
    return indexed, scene


def _paint_ids(scene: Scene, image_size: Tuple[int, int]) -> np.ndarray:
    """Paint the buffer (H, W) of the part id in front, 0 for background."""
    ids = np.zeros(image_size[::-1], np.int32)
    for first, shapes in scene:
        for part, hull, _ in shapes:
            if part is not None:
                cv2.fillConvexPoly(ids, hull, first + part, cv2.LINE_8, _SHIFT)
    return ids


def write_dataset(root: str,
                  num_images: int,
                  seed: int,
                  split: str = 'train2017',
                  image_size: Tuple[int, int] = (320, 240),
                  max_people: int = 3,
                  overwrite: bool = False) -> bool:
    """Write one split of a data set in the folder layout of COCO.

    The images are ``{root}/{split}/000000000001.jpg`` and so on, the
    annotations ``{root}/annotations/person_keypoints_{split}.json``, so that
    a config needs another ``data_root`` only. An image depends on the seed,
    the split and its own number, and the annotation file is written last.

    Args:
        root (str): The data root.
        num_images (int): The number of images.
        seed (int): The seed, not negative. Splits of one seed have no image
            in common.
        split (str): The name of the split. Defaults to ``'train2017'``.
        image_size (tuple[int, int]): Width and height in pixels. Defaults to
            ``(320, 240)``.
        max_people (int): The most people in an image. Defaults to 3.
        overwrite (bool): Whether to replace a rendered split that exists.
            Defaults to False.

    Returns:
        bool: False if the split exists with these very parameters, in which
        case nothing is written.

    Raises:
        ValueError: If a number is out of range, or there are other files in
            place of the split.
    """
    _check_parameters(image_size, max_people)
    if num_images < 1:
        raise ValueError(f'num_images={num_images}; use at least 1.')
    if seed < 0:
        raise ValueError(f'seed={seed}; use 0 or a positive integer.')
    ann_file = osp.join(root, 'annotations', f'person_keypoints_{split}.json')
    image_dir = osp.join(root, split)
    info = dict(
        description=DESCRIPTION,
        version=RENDERER_VERSION,
        seed=seed,
        split=split,
        num_images=num_images,
        image_size=list(image_size),
        max_people=max_people)
    if _exists(root, ann_file, image_dir, info, overwrite):
        return False
    # A run that was stopped leaves this folder only, never half a data set.
    partial_dir = osp.join(root, f'.{split}.partial')
    shutil.rmtree(partial_dir, ignore_errors=True)
    os.makedirs(partial_dir)
    os.makedirs(osp.dirname(ann_file), exist_ok=True)
    images, annotations = [], []
    for image_id in with_bar(range(1, num_images + 1)):
        rng = np.random.default_rng([seed, image_id, *split.encode()])
        image, people = render_image(rng, image_size, max_people)
        file_name = f'{image_id:012d}.jpg'
        path = osp.join(partial_dir, file_name)
        options = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 96))]
        if not cv2.imwrite(path, image, options):
            raise OSError(f'OpenCV cannot write to {partial_dir}.')
        images.append(
            dict(
                id=image_id,
                file_name=file_name,
                width=image_size[0],
                height=image_size[1]))
        for person in people:
            annotations.append(
                dict(id=len(annotations) + 1, image_id=image_id, **person))
    if osp.exists(ann_file):
        os.remove(ann_file)
        shutil.rmtree(image_dir, ignore_errors=True)
    os.replace(partial_dir, image_dir)
    write_json(
        ann_file,
        dict(
            info=info,
            licenses=[],
            images=images,
            annotations=annotations,
            categories=[person_category(CocoDataset.METAINFO)]))
    return True


def _exists(root: str, ann_file: str, image_dir: str, info: Dict[str, Any],
            overwrite: bool) -> bool:
    """Whether the split is there already; ValueError if another one is."""
    if not osp.exists(ann_file):
        if osp.isfile(root):
            raise ValueError(f'{root} is a file; choose a folder.')
        if osp.isdir(image_dir) and os.listdir(image_dir):
            raise ValueError(
                f'{image_dir} has files but no {ann_file}; remove the folder '
                'or choose another one for the data set.')
        return False
    try:
        with open(ann_file) as file:
            found = json.load(file).get('info') or {}
    # Not JSON, or no dictionary.
    except (AttributeError, ValueError):
        found = {}
    if found.get('description') != DESCRIPTION:
        raise ValueError(f'{ann_file} was not written by this renderer and is '
                         'not replaced; choose another folder.')
    if overwrite or not osp.isdir(image_dir):
        return False
    if found != info:
        changed = [key for key in info if found.get(key) != info[key]]
        raise ValueError(
            f'{ann_file} exists with another {", ".join(changed)}; pass '
            '--overwrite (overwrite=True) or choose another folder.')
    return True
