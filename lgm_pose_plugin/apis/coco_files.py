"""COCO's files: image ids, person boxes and key-point results.

Needs NumPy alone.
"""
import json
import os.path as osp
import reprlib
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

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
    for box in boxes:
        if not (isinstance(box, (list, tuple, np.ndarray)) and len(box) == 4
                and all(map(_is_number, box)) and box[2] > 0 and box[3] > 0):
            raise ValueError(f'the box {reprlib.repr(box)} is not (left, top, '
                             'width, height) with a width and height above 0')
    scores = [1.] * len(boxes) if scores is None else scores
    for score in scores:
        if not _is_number(score):
            raise ValueError(f'the score {reprlib.repr(score)} of a box is '
                             'not a number')
    array = np.array(boxes, np.float32).reshape(-1, 4)
    array[:, 2:] += array[:, :2]
    return Boxes(array, np.array(scores, np.float32).reshape(-1))


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, also as float32."""
    return isinstance(value, (int, float, np.number)) and abs(value) < 1e30


def _load(path: str) -> Any:
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(f'there is no file {path}') from None
    except (OSError, RecursionError, ValueError) as error:
        raise ValueError(f'{path} cannot be read as JSON: {error}') from error


class ImageIds:
    """Image ids of files.

    Args:
        images (Sequence[dict]): ``images`` of an annotation file, each with
            ``id`` and ``file_name``.
        origin (str): Where they are from, for messages.

    Raises:
        ValueError: If they are not as described.
    """

    def __init__(self, images: Any, origin: str):
        self.origin = origin
        self._ids: Dict[str, Dict[str, int]] = {}
        try:
            for image in images:
                name = image['file_name'].replace('\\', '/')
                hash(image['id'])
                self._ids.setdefault(osp.basename(name),
                                     {})[name] = image['id']
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f'{origin} has no images with id and file_name') from error

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
        data = _load(path)
        return cls(
            data.get('images') if isinstance(data, dict) else None, path)

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
        return cls([
            dict(id=number, file_name=osp.abspath(path))
            for number, path in zip(ids, paths)
        ], 'the list of images')

    def find(self, path: str) -> int:
        """Find the id of a file.

        Args:
            path (str): Its path, which ends in the ``file_name``, or has the
                base name of only one.

        Returns:
            int: The id.

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
    """Person boxes from a COCO-format file.

    Args:
        path (str): An annotation file (``images`` and ``annotations`` with
            ``bbox``; crowds are left out), or a list of results (``image_id``,
            ``category_id``, ``bbox`` and ``score``).
        ann_file (str, optional): The annotation file that gives the images of
            a list of results.
        score_thr (float): Boxes of results with at most this score are left
            out. Defaults to 0.

    Attributes:
        ids (ImageIds): The images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not as described.
    """

    def __init__(self,
                 path: str,
                 ann_file: Optional[str] = None,
                 score_thr: float = 0):
        data = _load(path)
        described = data
        if isinstance(data, list):
            if ann_file is None:
                raise ValueError(
                    f'{path} is a list of results, which has no names of '
                    'images; give the annotation file that has with '
                    '--ann-file')
            described = _load(ann_file)
        if not isinstance(described, dict):
            raise ValueError(f'{ann_file or path} is not an annotation file')
        self.ids = ImageIds(described.get('images'), ann_file or path)
        # Results have COCO's categories, whatever the other file's are.
        person = PERSON
        if described is data:
            person = _person_category(data.get('categories'), path)
        self._boxes: Dict[int, List[Sequence[float]]] = {}
        self._scores: Dict[int, List[float]] = {}
        entries = data if isinstance(data, list) else data.get('annotations')
        try:
            for entry in entries:
                score = entry.get('score', 1.)
                if (entry.get('category_id', person) != person
                        or entry.get('iscrowd') or score <= score_thr):
                    continue
                number = entry['image_id']
                self._boxes.setdefault(number, []).append(entry['bbox'])
                self._scores.setdefault(number, []).append(score)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'{path} has no boxes with image_id and bbox '
                             f'({error!r})') from error

    def find(self, path: str) -> Boxes:
        """Find the boxes of an image.

        Args:
            path (str): Its path, see :meth:`ImageIds.find`.

        Returns:
            Boxes: The boxes, of nobody if the file has none of this image.

        Raises:
            ValueError: If the file does not name the image, or a box is not
                one.
        """
        number = self.ids.find(path)
        return from_xywh(
            self._boxes.get(number, []), self._scores.get(number, []))


def _person_category(categories: Any, path: str) -> Any:
    """The id of the category person, COCO's where the file has none."""
    try:
        ids = {one.get('name'): one.get('id') for one in categories or []}
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f'{path} has no categories with id and name') from error
    if ids and 'person' not in ids:
        raise ValueError(f"{path} has no category 'person', but "
                         f'{", ".join(map(str, ids))}')
    return ids.get('person', PERSON)


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
