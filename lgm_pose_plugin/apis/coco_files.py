"""COCO's files: image ids, person boxes and key-point results.

Needs NumPy alone.
"""
import os.path as osp
import posixpath
import reprlib
from typing import (Any, Dict, Hashable, List, NamedTuple, Optional, Sequence,
                    Set, Tuple)

import numpy as np

from lgm_pose_plugin.utils.files import read_json

PERSON = 1  # COCO's category, and the one MMPose reads boxes of
# As in MMPose's CocoMetric: scores of key points that count for a person's.
KEYPOINT_SCORE_THR = 0.2


class Boxes(NamedTuple):
    """Boxes of the M people in an image.

    Attributes:
        boxes (np.ndarray): Left, top, right and bottom in pixels, float32 of
            shape ``(M, 4)``.
        scores (np.ndarray): Their scores, float32 of shape ``(M, )``.
    """
    boxes: np.ndarray
    scores: np.ndarray


def from_xywh(boxes: Sequence[Sequence[float]],
              scores: Optional[Sequence[float]] = None) -> Boxes:
    """Make boxes of COCO's (left, top, width, height).

    Args:
        boxes (Sequence[Sequence[float]]): M boxes.
        scores (Sequence[float], optional): Their scores. Defaults to 1.

    Returns:
        Boxes: The boxes.

    Raises:
        ValueError: If a box has no area or is not four numbers, or a score
            is not a number.
    """
    rows = []
    for box, score in zip(boxes, scores or [1.] * len(boxes)):
        try:
            row = np.array([*box, score], np.float32)
            valid = len(row) == 5 and all(
                np.isfinite(row)) and all(row[2:4] > 0)
        except (OverflowError, TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError(
                f'the box {reprlib.repr(box)} with the score {score!r} is not '
                '(left, top, width, height) with a width and height above 0')
        rows.append(row)
    array = np.array(rows, np.float32).reshape(-1, 5)
    array[:, 2:4] += array[:, :2]
    return Boxes(array[:, :4], array[:, 4])


def _as_id(value: Any) -> Hashable:
    """An id as a number, where it is one in quotes or with a point.

    Raises:
        TypeError: If it cannot be an id.
    """
    if isinstance(value, str) and value.lstrip('-').isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, (int, str)):
        raise TypeError(f'{value!r} is not an id')
    return value


class ImageIds:
    """Image ids of files.

    Args:
        data (dict): Of an annotation file; its ``images`` have ``id`` and
            ``file_name``.
        origin (str): Where they are from, for messages.

    Attributes:
        known (set): The ids.

    Raises:
        ValueError: If they are not as described.
    """

    def __init__(self, data: Any, origin: str):
        self.origin = origin
        self._ids: Dict[str, Dict[str, Any]] = {}
        self.known: Set[Hashable] = set()
        try:
            for image in data['images']:
                # Of Windows, or relative to the folder.
                name = posixpath.normpath(image['file_name'].replace(
                    '\\', '/'))
                number = _as_id(image['id'])
                self.known.add(number)
                self._ids.setdefault(osp.basename(name), {})[name] = number
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'{origin} has no images with id and file_name '
                             f'({error!r})') from error

    @classmethod
    def from_file(cls, path: str) -> 'ImageIds':
        """Read them from an annotation file.

        Args:
            path (str): The file, with ``images``.

        Returns:
            ImageIds: The ids.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not as described.
        """
        return cls(read_json(path), path)

    @classmethod
    def from_names(cls, paths: Sequence[str]) -> 'ImageIds':
        """Number files.

        Args:
            paths (Sequence[str]): The files.

        Returns:
            ImageIds: The numbers that the names are, as in
            000000000139.jpg, if all are different ones; else 1, 2, 3 and so
            on in this order.
        """
        stems = [osp.splitext(osp.basename(path))[0] for path in paths]
        ids = [int(stem) if stem.isdecimal() else None for stem in stems]
        if None in ids or len(set(ids)) < len(ids):
            ids = list(range(1, len(paths) + 1))
        images = [
            dict(id=number, file_name=osp.abspath(path))
            for number, path in zip(ids, paths)
        ]
        return cls(dict(images=images), 'the list of images')

    def find(self, path: str) -> Any:
        """Find the id of a file.

        Args:
            path (str): Its path, which ends in the ``file_name``, or has the
                base name of only one.

        Returns:
            int or str: The id, a number if it can be one.

        Raises:
            ValueError: If there is none, or more than one.
        """
        path = osp.abspath(path).replace('\\', '/')
        names = self._ids.get(osp.basename(path), {})
        ends = [name for name in names if path.endswith('/' + name.strip('/'))]
        matches = [max(ends, key=len)] if ends else list(names)
        if len(matches) != 1:
            raise ValueError(
                f'{len(matches) or "no"} images of {self.origin} have its '
                'name' + ''.join(f', {name}' for name in sorted(matches)))
        return names[matches[0]]


class BoxFile:
    """Boxes from a COCO-format file, as of COCO, CVAT or Label Studio.

    Args:
        path (str): An annotation file (``images`` and ``annotations`` with
            ``bbox``; crowds are left out), or a list of results (``image_id``,
            ``category_id``, ``bbox`` and ``score``).
        ann_file (str, optional): The annotation file that gives the images of
            a list of results.
        score_thr (float): Boxes of results with at most this score are left
            out. Defaults to 0.
        category (str, optional): Name of the category to take. Defaults to
            person or Person, or the only one that there is.

    Attributes:
        ids (ImageIds): The images.
        notes (list[str]): What was left out, but crowds, other categories and
            low scores.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not as described, has no box, or there is no such
            category.
    """

    def __init__(self,
                 path: str,
                 ann_file: Optional[str] = None,
                 score_thr: float = 0,
                 category: Optional[str] = None):
        data = read_json(path)
        described = data
        if isinstance(data, list):
            if ann_file is None:
                raise ValueError(f'{path} is a list of results and names no '
                                 'images; name them with --ann-file')
            described = read_json(ann_file)
        self.ids = ImageIds(described, ann_file or path)
        self.notes: List[str] = []
        # Boxes and scores by image.
        self._found: Dict[Hashable, List[Boxes]] = {}
        try:
            # Results have COCO's categories, whatever the other file's are.
            entries = data
            wanted: Optional[Hashable] = PERSON
            if described is data:
                entries = data['annotations']
                wanted = _category(data.get('categories') or (), category)
            kept = [
                (_as_id(entry['image_id']), entry.get('bbox'),
                 entry.get('score', 1.)) for entry in entries
                if (wanted is None or _as_id(entry.get('category_id', wanted))
                    == wanted) and not entry.get('iscrowd')
                and entry.get('score', 1.) > score_thr
            ]
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'{path} has no annotations with image_id and '
                             f'bbox ({error!r})') from error
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error
        if not kept:
            raise ValueError(
                f'{path} has no box of the category with scores above '
                f'{score_thr:g}, of {len(entries)} in all')
        self._add(path, kept)

    def _add(self, path: str, kept: List[Tuple[Hashable, Any, Any]]) -> None:
        """Sort boxes by image; note those that cannot be used."""
        wrong, elsewhere = [], []
        for number, box, score in kept:
            if number not in self.ids.known:
                elsewhere.append(number)
                continue
            try:
                found = from_xywh([box], [score])
            except ValueError as error:
                wrong.append(f'image {number}: {error}')
                continue
            self._found.setdefault(number, []).append(found)
        if wrong:
            self.notes.append(f'{path}: {len(wrong)} boxes are left out, the '
                              f'first of {wrong[0]}')
        if elsewhere:
            self.notes.append(
                f'{path}: {len(elsewhere)} boxes are of images that '
                f'{self.ids.origin} does not have, the first of the image '
                f'{elsewhere[0]!r}')
        if not self._found:
            raise ValueError('no box can be used. ' + '; '.join(self.notes))

    def find(self, path: str) -> Boxes:
        """Find the boxes of an image.

        Args:
            path (str): Its path, see :meth:`ImageIds.find`.

        Returns:
            Boxes: The boxes, of nobody if the file has none of this image.

        Raises:
            ValueError: If the file does not name the image.
        """
        found = self._found.get(self.ids.find(path), [from_xywh([])])
        return Boxes(*map(np.concatenate, zip(*found)))


def _category(categories: Sequence[Dict[str, Any]],
              name: Optional[str]) -> Optional[Hashable]:
    """Find the id of a category, ``None`` if none is told.

    Raises:
        ValueError: If there is not one of that name.
    """
    if not categories and name is None:
        return None
    ids = {one['name']: _as_id(one['id']) for one in categories}
    wanted = name or 'person'
    found = [wanted] if wanted in ids else [
        one for one in ids if one.casefold() == wanted.casefold()
    ]
    if not found and name is None:
        found = list(ids)
    if len(found) != 1:
        raise ValueError(
            f'it has the categories {", ".join(map(repr, ids)) or "(none)"}, '
            'of which --category names the one to take')
    return ids[found[0]]


def keypoint_results(image_id: int, keypoints: np.ndarray, scores: np.ndarray,
                     box_scores: np.ndarray) -> List[Dict[str, Any]]:
    """Make COCO's key-point results of an image.

    Args:
        image_id (int): The image.
        keypoints (np.ndarray): Key points of shape ``(M, K, 2)``.
        scores (np.ndarray): Their scores, of shape ``(M, K)``.
        box_scores (np.ndarray): Scores of the boxes, of shape ``(M, )``.

    Returns:
        list[dict]: ``image_id``, ``category_id``, ``keypoints`` (K times x, y
        and score) and ``score``: as in MMPose's CocoMetric, that of the box
        times the mean of the key points' above 0.2.
    """
    results = []
    for points, values, box_score in zip(keypoints, scores, box_scores):
        counted = values[values > KEYPOINT_SCORE_THR]
        score = float(box_score * counted.mean()) if counted.size else 0.
        points = np.column_stack([points, values]).ravel().tolist()
        results.append(
            dict(
                image_id=image_id,
                category_id=PERSON,
                keypoints=points,
                score=score))
    return results
