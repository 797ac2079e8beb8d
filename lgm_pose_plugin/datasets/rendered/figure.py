"""An articulated figure: joints in space and the shapes that clothe them."""
from typing import Dict, Iterable, List, Optional, Tuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

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
SHIFT = 4  # fractional bits of the corners given to OpenCV
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
CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_RING = np.stack([CIRCLE[:, 0], np.zeros(16), CIRCLE[:, 1]], axis=1)
_SPHERE = np.concatenate([
    np.stack([
        np.cos(lat) * CIRCLE[:, 0],
        np.full(16, np.sin(lat)),
        np.cos(lat) * CIRCLE[:, 1]
    ], axis=1) for lat in np.radians(np.linspace(-90, 90, 13))
])  # yapf: disable
# Index in PARTS (None for decoration inside the part before it), convex
# outline (N, 1, 2) in fixed point, BGR colour.
Shape = Tuple[Optional[int], np.ndarray, List[float]]


class Figure:
    """A posed figure in the picture.

    Args:
        rng (np.random.Generator): The source of randomness.
        image_size (tuple[int, int]): Width and height of the picture, outside
            of which the figure may lie in part.

    Attributes:
        keypoints (np.ndarray): COCO key points in pixels, (17, 2).
        owners (list[set[int]]): For each key point the indices in ``PARTS``
            of the parts that may cover it without hiding it.
        shapes (list[Shape]): What to paint, far to near.
        texture (np.ndarray): Strength of the texture of each part, (P, ).
        height (float): The standing height in pixels.
    """

    def __init__(self, rng: np.random.Generator,
                 image_size: Tuple[int, int]) -> None:
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
        self.owners = self._find_owners()
        self._project(np.array(image_size))

    def _project(self, size: np.ndarray) -> None:
        rng = self.rng
        self.height = min(size[1], size[0] * 1.3) * np.exp(
            rng.uniform(np.log(.42), np.log(1.05)))
        scale = np.array([self.height, -self.height])
        self.keypoints = self.joints[:, :2] * scale
        low, high = self.keypoints.min(axis=0), self.keypoints.max(axis=0)
        # Keep the body inside where it fits, but let a part of it stick out.
        room = np.maximum(size - (high - low), 0) / 2 + .12 * (high - low)
        centre = size / 2 + rng.uniform(-1, 1, 2) * room
        offset = centre - (low + high) / 2
        self.keypoints += offset
        self.shapes: List[Shape] = []
        for _, name, layers in self.parts:
            for number, (points, color) in enumerate(layers):
                self.shapes.append((None if number else PART_INDEX[name],
                                    hull(points[:, :2] * scale + offset),
                                    np.clip(color, 0, 255).tolist()))

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
        skin = pick(rng, SKINS)
        self.skin, self.hair = skin, pick(rng, HAIRS)
        shirt, trousers, shoes, self.trim = (any_color(rng) for _ in range(4))
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
        self.stripes = int(rng.integers(3, 8))
        # Strength of the texture of each part.
        self.texture = np.full(len(PARTS), 2.)
        self.texture[PART_INDEX['torso']] = rng.uniform(0, 16)
        trousers_parts = ('pelvis', 'left_thigh', 'right_thigh')
        self.texture[[PART_INDEX[part]
                      for part in trousers_parts]] = rng.uniform(0, 16)
        self.texture[PART_INDEX['hair']] = 12

    def _add_limbs(self, side: int) -> None:
        for part, (_, _, *widths) in LIMBS.items():
            name = f'{SIDES[side]}_{part}'
            start, end = self.ends[name]
            depth = (start[2] + end[2]) / 2
            # Limbs farther away are darker, as under a light at the camera.
            color = self.colors[part] * min(max(.92 + depth, .65), 1.15)
            radii = np.array(widths) * self.build
            ends = np.array([start, end])[:, :2]
            shifted = ends + self.light * radii[1]
            layers = [(capsule(ends, radii), color),
                      (capsule(shifted, radii * .5), color * 1.1 + 5)]
            if part in self.striped:
                across = np.array([start[1] - end[1], end[0] - start[0]])
                across /= np.hypot(*across) + 1e-9
                edges = across * np.array([[[1]], [[-1]]])
                layers += self._stripe(
                    (start[:2] + edges * radii[0]).reshape(2, 2),
                    (end[:2] + edges * radii[1]).reshape(2, 2), 4)
            # In front of the trunk when side by side with it.
            self.parts.append(
                (depth + .025 + .002 * (part == 'hand'), name, layers))

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
                disc = capsule((button, button), (.01, .01))
                layers.append((disc, self.trim))
        middle = self.waist[2] + (torso @ (0, .09, 0))[2]
        self.parts.append((middle, 'torso', layers))
        pelvis = [(np.concatenate([waist, hips]), self.colors['pelvis'])]
        self.parts.append((self.waist[2] / 2 - .001, 'pelvis', pelvis))
        base = self.waist + torso @ (0, .2, -.005)
        top = self._on_head(np.array((0, -.05, -.01)))
        neck = capsule((base, top), (.036, .03))
        self.parts.append((base[2] - .01, 'neck', [(neck, self.skin * .88)]))

    def _add_head(self) -> None:
        frame, size = self.frames['head'], self.head_size
        facing = _SPHERE @ (frame[2] / HEAD_AXES) > -1
        base = self.head[2] + .03
        surface = self._on_head(_SPHERE * HEAD_AXES)
        face = [(surface, self.skin)]
        if frame[2, 2] > 0:
            corners = np.array([(-.018, -.048, .06), (.018, -.048, .06)])
            mouth = capsule(self._on_head(corners), (.005, .005))
            face.append((mouth, self.skin * (.6, .55, .8)))
        self.parts.append((base, 'head', face))
        # What hair covers of the skull: its back and its top.
        back, top = self.rng.uniform(-.3, .05), self.rng.uniform(.45, .7)
        height, front = _SPHERE[:, 1], _SPHERE[:, 2]
        for part in (front < back + .35 * height, height > top):
            if np.any(part & facing):
                lock = self._on_head(_SPHERE[part & facing] * HEAD_AXES * 1.06)
                self.parts.append((base + .001, 'hair', [(lock, self.hair)]))
        if self.rng.random() < .4:
            tail = self._on_head(np.array([(0, 0, -.04), (0, -.14, -.055)]))
            radii = np.array((.062, .05)) * size
            self.parts.append((tail[:, 2].mean() + .01, 'hair',
                               [(capsule(tail, radii), self.hair * .9)]))
        bridge = self._on_head(np.array((0, .01, .068)))
        nose = capsule((bridge, self.joints[0]), (.007 * size, .013 * size))
        features: List[tuple] = [('nose', 0, [(nose, self.skin * .8)])]
        for side, name in enumerate(SIDES):
            eye, ear = self.joints[1 + side], self.joints[3 + side]
            white, pupil = (
                capsule((eye, eye), (r * size, ) * 2) for r in (.015, .010))
            features.append((f'{name}_eye', 1 + side, [(white, (235, ) * 3),
                                                       (pupil, (40, 30, 25))]))
            lobe = ear - frame[:, 1] * .012 * size
            shell = capsule((ear, lobe), (.017 * size, .012 * size))
            features.append(
                (f'{name}_ear', 3 + side, [(shell, self.skin * .82)]))
        for name, index, layers in features:
            front = self.joints[index, 2] > self.head[2]
            self.parts.append(
                (base + (.002 if front else -.002), name, layers))

    def _find_owners(self) -> List[set]:
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


def pick(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    color = palette[rng.integers(len(palette))]
    return np.clip(color * rng.uniform(.85, 1.1) + rng.normal(0, 6, 3), 0, 255)


def any_color(rng: np.random.Generator) -> np.ndarray:
    """A colour (3, ), more often dull than bright."""
    color = rng.uniform(5, 250, 3)
    return color.mean() + (color - color.mean()) * rng.random()


def hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of points (N, 2) in fixed point."""
    return cv2.convexHull(np.rint(points * (1 << SHIFT)).astype(np.int32))


def capsule(ends: Iterable[np.ndarray], radii: Iterable[float]) -> np.ndarray:
    """Circles (32, 2) around two points, whose hull is a tapered limb."""
    return np.concatenate(
        [end[:2] + CIRCLE * radius for end, radius in zip(ends, radii)])


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
        for name in SIDES:
            first, second, third = (f'{name}_{part}' for part in parts)
            frames[first] = frames[base] @ next(rows)
            frames[second] = frames[third] = frames[first] @ next(rows)
    return frames
