"""Leeds Sports Pose: from ``joints.mat`` to COCO-style annotations."""
import json
import os
import os.path as osp
import re
from contextlib import ExitStack
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from scipy.io import loadmat

from lgm_pose_plugin.utils.files import replacing
from lgm_pose_plugin.utils.progress import with_bar
from ..coco_format import person_category
from ..datasets.body import LspDataset
from ..transforms.loading import read_size

NUM_JOINTS = 14
MIN_JOINTS = 8
# A labelled joint further outside than this part of the image's longer side
# is an error of the annotation.
MAX_OUTSIDE = .1
# Of the longer side of the labelled joints' extent, added on all sides: joints
# lie inside the body, hands and feet beyond wrists and ankles.
BOX_MARGIN = .1
# Part of the box that a person covers, as MMPose has it for data without
# segmentation.
AREA_OF_BOX = .53

# The number of the first image of each split. LSPET has no official split;
# LSP's is that of its authors.
SPLITS = dict(
    lspet=dict(train=1, val=6001, extra=7001), lsp=dict(train=1, val=1001))
# Digits in the images' names.
DIGITS = dict(lspet=5, lsp=4)


class Records(NamedTuple):
    """The content of a ``joints.mat``.

    Attributes:
        name (str): ``'lsp'`` or ``'lspet'``.
        joints (np.ndarray): x and y in pixels, (N, 14, 2).
        flags (np.ndarray): COCO's visibility (0 not labelled, 1 hidden, 2
            visible), (N, 14).
    """
    name: str
    joints: np.ndarray
    flags: np.ndarray


def load_joints(path: str) -> Records:
    """Read a ``joints.mat``.

    LSPET's array is 14x3xN and its third column is 1 for a labelled joint;
    joints that are not labelled have meaningless coordinates. LSP's is 3x14xN,
    all joints are labelled, and its third row is 1 for a *hidden* one.

    Args:
        path (str): The file.

    Returns:
        Records: The joints and what data set they belong to.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a ``joints.mat`` of LSP or LSPET.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'{path} is missing; unpack the archive of LSP or LSPET, which '
            'has joints.mat and images/, and pass its folder.')
    try:
        array = loadmat(path)['joints']
    except Exception as error:
        raise ValueError(f'{path} is not the joints.mat of LSP or LSPET: '
                         f'{error!r}. Unpack the archive again.') from error
    if array.ndim != 3 or array.shape[:2] not in ((NUM_JOINTS, 3),
                                                  (3, NUM_JOINTS)):
        raise ValueError(f'{path} has joints of shape {array.shape}, not '
                         '14x3xN (LSPET) or 3x14xN (LSP).')
    array = array.astype(np.float64)
    name = 'lspet' if array.shape[0] == NUM_JOINTS else 'lsp'
    array = array.transpose((2, 0, 1) if name == 'lspet' else
                            (2, 1, 0))  # (N, 14, 3)
    third = array[..., 2]
    if not np.isin(third, (0, 1)).all():
        raise ValueError(f'{path} has visibility flags other than 0 and 1; it '
                         'is not the joints.mat of LSP or LSPET.')
    flags = 2 * third if name == 'lspet' else 2 - third
    return Records(name, array[..., :2], flags.astype(np.int64))


def find_images(folder: str, name: str, number: int) -> List[str]:
    """Find the images of a data set.

    Args:
        folder (str): The folder ``images``.
        name (str): ``'lsp'`` or ``'lspet'``.
        number (int): The number of records.

    Returns:
        list[str]: The file names, ``im00001.jpg`` (LSPET) or ``im0001.jpg``
        (LSP) and so on.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has not exactly the images of the records.
    """
    if not osp.isdir(folder):
        raise FileNotFoundError(f'{folder} is missing; unpack the images of '
                                'the archive beside joints.mat.')
    digits = DIGITS[name]
    wanted = [f'im{index:0{digits}d}.jpg' for index in range(1, number + 1)]
    found = {
        file
        for file in os.listdir(folder)
        if re.fullmatch(fr'im\d{{{digits}}}\.jpg', file)
    }
    if found != set(wanted):
        odd = sorted(found.symmetric_difference(wanted))
        raise ValueError(
            f'{folder} has {len(found)} images {wanted[0]} and so on, '
            f'joints.mat {number} records; without the other are '
            f'{", ".join(odd[:3])}{" ..." * (len(odd) > 3)}. Unpack both from '
            'one archive.')
    return wanted


def find_fault(joints: np.ndarray, flags: np.ndarray,
               size: Tuple[int, int]) -> Optional[str]:
    """Say why a record cannot be right.

    Args:
        joints (np.ndarray): x and y in pixels, (14, 2).
        flags (np.ndarray): COCO's visibility, (14, ).
        size (tuple[int, int]): Width and height of the image.

    Returns:
        str, optional: The reason, None for a record that may be right.
    """
    labelled = flags > 0
    if labelled.sum() < MIN_JOINTS:
        return (f'{labelled.sum()} joints labelled, fewer than {MIN_JOINTS}')
    slack = MAX_OUTSIDE * max(size)
    # Written so that NaN is outside, too.
    inside = ((joints >= -slack) & (joints <= np.array(size) + slack)).all(1)
    if (labelled & ~inside).any():
        index = np.flatnonzero(labelled & ~inside)[0]
        x, y = joints[index]
        name = LspDataset.METAINFO['keypoint_info'][index]['name']
        return (f'{name} at ({x:.0f}, {y:.0f}) is far outside of the image of '
                f'{size[0]}x{size[1]}')
    return None


def annotate(joints: np.ndarray, flags: np.ndarray,
             size: Tuple[int, int]) -> Dict[str, Any]:
    """Make the COCO annotation of a person.

    Args:
        joints (np.ndarray): x and y in pixels, (14, 2).
        flags (np.ndarray): COCO's visibility, (14, ).
        size (tuple[int, int]): Width and height of the image.

    Returns:
        dict: ``keypoints`` (14 times x, y and flag), ``num_keypoints``,
        ``bbox`` (x, y, w, h: the extent of the labelled joints and a margin of
        a tenth of its longer side, clipped to the image), ``area`` (0.53 of
        the box), ``iscrowd`` and ``category_id``.
    """
    labelled = flags > 0
    low, high = joints[labelled].min(0), joints[labelled].max(0)
    margin = BOX_MARGIN * (high - low).max()
    low = np.clip(low - margin, 0, size)
    high = np.clip(high + margin, 0, size)
    bbox = np.round([*low, *(high - low)], 2).tolist()
    points = np.where(labelled[:, None], np.round(joints, 2), 0)
    return dict(
        keypoints=np.column_stack([points, flags]).ravel().tolist(),
        num_keypoints=int(labelled.sum()),
        bbox=bbox,
        area=round(AREA_OF_BOX * bbox[2] * bbox[3], 2),
        iscrowd=0,
        category_id=1)


def split_records(name: str,
                  number: int,
                  val_from: Optional[int] = None) -> Dict[str, range]:
    """Divide the images into splits.

    Args:
        name (str): ``'lsp'`` or ``'lspet'``.
        number (int): The number of records.
        val_from (int, optional): The number of the first image of ``val``,
            for another division than ours. Defaults to None.

    Returns:
        dict[str, range]: The numbers, from 1 on, of the images of ``train``,
        ``val`` and, if LSPET has more than 7,000 of them, ``extra``.

    Raises:
        ValueError: If ``train`` or ``val`` has no image.
    """
    starts = SPLITS[name] if val_from is None else dict(train=1, val=val_from)
    stops = [*list(starts.values())[1:], number + 1]
    splits = {
        split: range(start, min(stop, number + 1))
        for (split, start), stop in zip(starts.items(), stops)
    }
    if not splits['train'] or not splits['val']:
        raise ValueError(
            f'val from image {starts["val"]} on leaves train or val without '
            f'any of the {number} images; pass --val-from (val_from) with a '
            f'number from 2 to {number}.')
    return {split: numbers for split, numbers in splits.items() if numbers}


def convert(source: str,
            out: str,
            val_from: Optional[int] = None) -> Dict[str, Dict[str, Any]]:
    """Write COCO-style annotations of LSP or LSPET.

    Records that cannot be right (see :func:`find_fault`) are left out of
    ``{out}/annotations/{name}_{split}.json`` and listed, with the reason, in
    ``{out}/annotations/{name}_removed.json``. The id of an image and of its
    annotation is the number in the image's name. Without an ``{out}/images``,
    a link to those of the source is made. The annotations are written when all
    images have been read, and replace older ones.

    Args:
        source (str): The folder with ``joints.mat`` and ``images/``.
        out (str): The data root to write; may be the source.
        val_from (int, optional): See :func:`split_records`. Defaults to None.

    Returns:
        dict[str, dict]: What was written, by file name: COCO's dictionaries
        and, for the removed ones, ``{'removed': [{'file_name', 'split',
        'reason'}]}``.

    Raises:
        FileNotFoundError: If ``joints.mat`` or ``images`` is missing.
        ValueError: If they do not belong together, an image cannot be read or
            ``out`` has other images.
    """
    name, joints, flags = load_joints(osp.join(source, 'joints.mat'))
    image_dir = osp.join(source, 'images')
    file_names = find_images(image_dir, name, len(joints))
    splits = split_records(name, len(joints), val_from)
    _check_out(source, out, file_names)
    sizes = [
        read_size(osp.join(image_dir, file_name))
        for file_name in with_bar(file_names)
    ]
    files, removed = {}, []
    for split, numbers in splits.items():
        images, annotations = [], []
        for number in numbers:
            file_name, size = file_names[number - 1], sizes[number - 1]
            record = joints[number - 1], flags[number - 1], size
            fault = find_fault(*record)
            if fault:
                removed.append(
                    dict(file_name=file_name, split=split, reason=fault))
                continue
            images.append(
                dict(
                    id=number,
                    file_name=file_name,
                    width=size[0],
                    height=size[1]))
            annotations.append(
                dict(id=number, image_id=number, **annotate(*record)))
        files[f'{name}_{split}.json'] = dict(
            info=dict(description=f'{name.upper()} {split}, converted by '
                      'lgm_pose_plugin'),
            licenses=[],
            images=images,
            annotations=annotations,
            categories=[person_category(LspDataset.METAINFO)])
    files[f'{name}_removed.json'] = dict(removed=removed)
    _write(files, source, out)
    # Of a conversion with other splits, whose images are now in these.
    for split in SPLITS[name].keys() - splits.keys():
        stale = osp.join(out, 'annotations', f'{name}_{split}.json')
        if osp.exists(stale):
            os.remove(stale)
    return files


def _check_out(source: str, out: str, file_names: List[str]) -> None:
    """ValueError if ``out`` has a folder of images without ours."""
    images = osp.join(out, 'images')
    if osp.lexists(images):
        missing = sorted(
            file for file in file_names
            if not osp.exists(osp.join(images, file)))
        if missing:
            raise ValueError(
                f'{images} lacks {len(missing)} of the images of {source} '
                f'({", ".join(missing[:3])}); copy them there or choose '
                'another folder to write to.')


def _write(files: Dict[str, Dict[str, Any]], source: str, out: str) -> None:
    """Write the annotation files, all or none, and link the images."""
    folder = osp.join(out, 'annotations')
    images = osp.join(out, 'images')
    try:
        with ExitStack() as stack:
            for name, content in files.items():
                path = stack.enter_context(replacing(osp.join(folder, name)))
                with open(path, 'w') as file:
                    json.dump(content, file)
            if not osp.lexists(images):
                os.symlink(osp.abspath(osp.join(source, 'images')), images)
    except OSError as error:
        raise ValueError(
            f'{error}; choose another folder than {out}, or copy the images '
            'there if they cannot be linked.') from error
