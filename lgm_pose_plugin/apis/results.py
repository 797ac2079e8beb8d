"""Result files, which are replaced whole or left as they were.

Everything is written to a file beside the final one, which it then replaces.
Needs NumPy and OpenCV alone.
"""
import csv
import json
import os
import os.path as osp
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from lgm_pose_plugin.utils.files import (JsonListWriter, TextFile, replacing,
                                         write_json)
from lgm_pose_plugin.visualization.skeletons import Drawer
from .coco_files import PERSON, ImageIds, keypoint_results
from .sources import Frame, Source, is_url
from .video_writer import VideoWriter, video_name


@dataclass(eq=False)
class PoseResult(Frame):
    """The M people of a picture, or of a frame of a video.

    Attributes:
        bboxes (np.ndarray): Boxes, (left, top, right, bottom) in pixels, of
            shape ``(M, 4)``.
        bbox_scores (np.ndarray): Their scores, of shape ``(M, )``.
        keypoints (np.ndarray): Key points (x, y) in pixels, of shape
            ``(M, K, 2)``.
        keypoint_scores (np.ndarray): Their scores, of shape ``(M, K)``.
        skeleton (list): Pairs of indices of key points, the lines of
            :meth:`draw`.
        track_ids (np.ndarray, optional): Track ids of shape ``(M, )``, -1
            for none.
    """
    bboxes: np.ndarray
    bbox_scores: np.ndarray
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    skeleton: Sequence[Sequence[int]] = ()
    track_ids: Optional[np.ndarray] = None

    def draw(self,
             kpt_thr: float = 0.3,
             draw_bbox: bool = False) -> np.ndarray:
        """Draw the people.

        Args:
            kpt_thr (float): Key points with at most this score are left out.
                Defaults to 0.3, as in MMPose's inferencers.
            draw_bbox (bool): Whether to draw the boxes, too. Defaults to
                ``False``.

        Returns:
            np.ndarray: The drawn image, BGR, uint8 of shape ``(H, W, 3)``;
            ``image`` stays as it is.

        Raises:
            ImportError: If supervision is not installed.
        """
        return Drawer(self.skeleton, kpt_thr,
                      draw_bbox).draw(self.image, self.bboxes, self.keypoints,
                                      self.keypoint_scores, self.track_ids)

    def instances(self) -> List[Dict[str, Any]]:
        """Make what MMPose's inferencers give and write of an image.

        Returns:
            list[dict]: ``keypoints``, ``keypoint_scores``, ``bbox`` (a list
            of one box) and ``bbox_score``, as MMPose's ``split_instances``;
            with tracks ``track_id``, too.
        """
        results = [
            dict(
                keypoints=keypoints.tolist(),
                keypoint_scores=scores.tolist(),
                bbox=[box.tolist()],
                bbox_score=float(box_score))
            for box, box_score, keypoints, scores in zip(
                self.bboxes, self.bbox_scores, self.keypoints,
                self.keypoint_scores)
        ]
        if self.track_ids is not None:
            for result, number in zip(results, self.track_ids.tolist()):
                result['track_id'] = number
        return results


def write_image(path: str, image: np.ndarray) -> None:
    """Write a picture and the folders it lies in.

    Args:
        path (str): The file, whose suffix tells the format.
        image (np.ndarray): BGR, uint8 of shape ``(H, W, 3)``.

    Raises:
        OSError: If OpenCV cannot encode it or the file not be written.
    """
    success, data = cv2.imencode(osp.splitext(path)[1], image)
    if not success:
        raise OSError(f'OpenCV cannot encode {path}')
    with replacing(path) as temporary:
        # Not tofile, which says nothing if the disk is full at the end.
        Path(temporary).write_bytes(data.tobytes())


def picture_name(name: str) -> str:
    """Name of the picture drawn from one, .jpg if OpenCV cannot write it.

    Args:
        name (str): The name of the picture.

    Returns:
        str: The name to write.
    """
    # Written as others, the suffix would tell a wrong format.
    if osp.splitext(name)[1] and cv2.haveImageWriter(name):
        return name
    return osp.splitext(name)[0] + '.jpg'


class CsvWriter:
    """A table of people, one row a person and frame.

    It gets its name when it is closed.

    Args:
        path (str): The file.
        names (Sequence[str]): Names of the key points.
    """

    def __init__(self, path: str, names: Sequence[str]):
        self._file = TextFile(path)
        self._rows = csv.writer(self._file)
        self._rows.writerow([
            'source', 'frame', 'seconds', 'track_id', 'left', 'top', 'right',
            'bottom', 'box_score', *(f'{name}_{what}' for name in names
                                     for what in ('x', 'y', 'score'))
        ])

    def __call__(self, result: PoseResult) -> None:
        """Write the people of a frame.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
        """
        ids = result.track_ids
        self._rows.writerows([
            result.source.title, result.frame_id, f'{result.seconds:.6f}',
            None if ids is None else ids[i],
            *result.bboxes[i].astype(float).round(2).tolist(),
            round(float(result.bbox_scores[i]), 5),
            *np.column_stack([points, result.keypoint_scores[i]]).astype(
                float).round(5).ravel().tolist()
        ] for i, points in enumerate(result.keypoints))

    def close(self) -> None:
        """Finish the file. Of what fails elsewhere, the rows are kept."""
        self._file.close()


class OpenPoseWriter:
    """A file of key points for each frame, as OpenPose's ``--write_json``.

    ``pose_keypoints_2d`` has the network's key points in their order.

    Args:
        folder (str): The folder of the files, ``NAME_keypoints.json`` for a
            picture and ``NAME_000000000000_keypoints.json`` for a frame.
    """

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, result: PoseResult) -> None:
        """Write the people of a frame."""
        ids = result.track_ids
        others = ('face', 'hand_left', 'hand_right')
        number = '' if result.frame_id is None else f'_{result.frame_id:012}'
        stem = osp.splitext(result.source.name)[0]
        write_json(
            osp.join(self.folder, f'{stem}{number}_keypoints.json'),
            dict(
                version=1.3,
                people=[
                    dict(
                        person_id=[-1 if ids is None else int(ids[i])],
                        pose_keypoints_2d=np.column_stack(
                            [points,
                             result.keypoint_scores[i]]).ravel().tolist(),
                        **{f'{part}_keypoints_2d': []
                           for part in others})
                    for i, points in enumerate(result.keypoints)
                ]))

    def close(self) -> None:
        """Do nothing: each file is whole."""


class CocoResults:
    """COCO's key-point results of pictures.

    The file gets its name when it is closed.

    Args:
        path (str): The file.
        ids (ImageIds): Ids of the pictures.
    """

    def __init__(self, path: str, ids: ImageIds):
        self._ids, self._list = ids, JsonListWriter(path)

    def __call__(self, result: PoseResult) -> None:
        """Write the people of a picture; frames of videos are left out.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
            ValueError: If the picture has no id.
        """
        if result.frame_id is None:
            for person in keypoint_results(
                    self._ids.find(result.source.path), result.keypoints,
                    result.keypoint_scores, result.bbox_scores):
                self._list.write(person)

    def close(self) -> None:
        """Finish the file."""
        self._list.close()


class CocoAnnotations:
    """Annotations of pictures in COCO's format, to correct and train on.

    The file gets its name when it is closed. People are written as the run
    goes, pictures at its end.

    Args:
        path (str): The file.
        ids (ImageIds): Ids of the pictures.
        folder (str): The folder that file names are relative to.
        names (Sequence[str]): Names of the key points.
        skeleton (Sequence[Sequence[int]]): Pairs of indices of key points.
        score_thr (float): Key points with at most this score are not
            labelled; people without any other are left out.
    """

    def __init__(self, path: str, ids: ImageIds, folder: str,
                 names: Sequence[str], skeleton: Sequence[Sequence[int]],
                 score_thr: float):
        self._ids, self._folder, self._score_thr = ids, folder, score_thr
        self._people = JsonListWriter(path, opening='{"annotations": [')
        self._count = 0
        self._others: Dict[str, List[Dict[str, Any]]] = dict(
            images=[],
            categories=[
                dict(
                    id=PERSON,
                    name='person',
                    supercategory='person',
                    keypoints=list(names),
                    skeleton=[[a + 1, b + 1] for a, b in skeleton])
            ])

    def __call__(self, result: PoseResult) -> None:
        """Add a picture and its people; frames of videos are left out.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
            ValueError: If the picture has no id.
        """
        if result.frame_id is not None:
            return
        name = result.source.title
        image_id = self._ids.find(result.source.path)
        if not is_url(name):
            name = osp.relpath(name, self._folder).replace(os.sep, '/')
        height, width = result.image.shape[:2]
        self._others['images'].append(
            dict(id=image_id, file_name=name, width=width, height=height))
        for box, points, scores in zip(result.bboxes, result.keypoints,
                                       result.keypoint_scores):
            seen = scores > self._score_thr
            left, top, right, bottom = box.clip(
                0, [width, height, width, height
                    ]).astype(float).round(2).tolist()
            if not seen.any() or right <= left or bottom <= top:
                continue
            flags = np.where(seen, 2, 0)  # labelled and visible, or neither
            points = np.where(seen[:, None], points, 0).astype(float).round(2)
            area = (right - left) * (bottom - top)
            self._count += 1
            self._people.write(
                dict(
                    id=self._count,
                    image_id=image_id,
                    category_id=PERSON,
                    bbox=[left, top, right - left, bottom - top],
                    area=area,
                    iscrowd=0,
                    num_keypoints=int(seen.sum()),
                    keypoints=np.column_stack([points,
                                               flags]).ravel().tolist()))

    def close(self) -> None:
        """Finish the file."""
        self._people.close(f'], {json.dumps(self._others)[1:]}')


class SourceWriter:
    """Writes what there is of a source, as MMPose's inferencers lay it out.

    ``predictions/NAME.json`` and ``visualizations/NAME``, which get their
    names when it is closed.

    Args:
        out_dir (str): The folder of all results.
        source (Source): The source.
    """

    def __init__(self, out_dir: str, source: Source):
        self._prediction, self._drawing = result_paths(out_dir, source)
        self._context = ExitStack()
        self._frames: Optional[JsonListWriter] = None
        self._video: Optional[VideoWriter] = None

    def write(self, result: PoseResult, drawn: Optional[np.ndarray]) -> None:
        """Write the picture or the next frame.

        Args:
            result (PoseResult): Its people.
            drawn (np.ndarray, optional): The people drawn, if they are to be.

        Raises:
            OSError: If it cannot be written.
            ValueError: If a frame has another size than those before.
        """
        if result.frame_id is None:
            if drawn is not None:
                write_image(self._drawing, drawn)
            write_json(self._prediction, result.instances(), indent='  ')
            return
        if self._frames is None:
            self._frames = JsonListWriter(self._prediction, '  ', lazy=True)
            self._context.enter_context(closing(self._frames))
        if drawn is not None:
            if self._video is None:
                self._video = VideoWriter(self._drawing, result.fps)
                self._context.enter_context(closing(self._video))
            self._video.write(drawn, result.seconds)
        self._frames.write(
            dict(frame_id=result.frame_id, instances=result.instances()))

    def close(self) -> None:
        """Finish the files; whatever ended the source, its frames are kept.

        Raises:
            OSError: If one could not be written whole.
        """
        self._context.close()


def result_paths(out_dir: str, source: Source) -> Tuple[str, str]:
    """Where the results of a source go, as MMPose's inferencers lay them out.

    Args:
        out_dir (str): The folder of all results.
        source (Source): The source.

    Returns:
        tuple[str, str]: The JSON file and the drawn picture or video.
    """
    rename = picture_name if source.kind == 'image' else video_name
    return (osp.join(out_dir, 'predictions',
                     osp.splitext(source.name)[0] + '.json'),
            osp.join(out_dir, 'visualizations', rename(source.name)))
