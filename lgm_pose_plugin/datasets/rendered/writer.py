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
from typing import Any, Dict, List, Tuple

import cv2
import numpy as np
from mmpose.datasets import CocoDataset

from lgm_pose_plugin.utils.files import write_json
from lgm_pose_plugin.utils.progress import with_bar
from ..coco_format import person_category
from .scene import check_parameters, render_image

DESCRIPTION = 'Rendered people of lgm_pose_plugin'
# Raised with any change of the pictures, so that old data sets are not taken
# for new ones.
RENDERER_VERSION = '1.0'


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
    check_parameters(image_size, max_people)
    if num_images < 1 or seed < 0:
        raise ValueError(f'num_images={num_images}, seed={seed}; use at least '
                         '1 image and a seed that is not negative.')
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
    if _exists(ann_file, image_dir, info, overwrite):
        return False
    # A run that was stopped leaves this folder only, never half a data set.
    partial_dir = osp.join(root, f'.{split}.partial')
    shutil.rmtree(partial_dir, ignore_errors=True)
    os.makedirs(partial_dir)
    images, annotations = _write_images(partial_dir, info)
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


def _write_images(folder: str, info: Dict[str, Any]) -> Tuple[list, list]:
    """Render the images; return COCO's records of images and people."""
    images: List[dict] = []
    annotations: List[dict] = []
    for image_id in with_bar(range(1, info['num_images'] + 1)):
        rng = np.random.default_rng(
            [info['seed'], image_id, *info['split'].encode()])
        width, height = info['image_size']
        image, people = render_image(rng, (width, height), info['max_people'])
        file_name = f'{image_id:012d}.jpg'
        options = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 96))]
        if not cv2.imwrite(osp.join(folder, file_name), image, options):
            raise OSError(f'OpenCV cannot write to {folder}.')
        images.append(
            dict(id=image_id, file_name=file_name, width=width, height=height))
        for person in people:
            annotations.append(
                dict(id=len(annotations) + 1, image_id=image_id, **person))
    return images, annotations


def _exists(ann_file: str, image_dir: str, info: Dict[str, Any],
            overwrite: bool) -> bool:
    """Whether the split exists already; ValueError if another one does."""
    if not osp.exists(ann_file):
        if osp.isdir(image_dir) and os.listdir(image_dir):
            raise ValueError(
                f'{image_dir} has files but no {ann_file}; remove the folder '
                'or choose another one for the data set.')
        return False
    with open(ann_file) as file:
        found = json.load(file)['info']
    if found.get('description') != DESCRIPTION:
        raise ValueError(f'{ann_file} was not written by this renderer and is '
                         'not replaced; choose another folder.')
    if overwrite or not osp.isdir(image_dir):
        return False
    changed = [key for key in info if found.get(key) != info[key]]
    if changed:
        raise ValueError(
            f'{ann_file} exists with another {", ".join(changed)}; pass '
            '--overwrite (overwrite=True) or choose another folder.')
    return True
