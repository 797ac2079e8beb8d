"""Leeds Sports Pose: from ``joints.mat`` to COCO-style annotations."""
import os
import os.path as osp
from typing import Any, Dict, Optional, Tuple

import numpy as np
from scipy.io import loadmat

from lgm_pose_plugin.utils.files import write_json
from lgm_pose_plugin.utils.progress import with_bar
from ..coco_format import person_category
from ..datasets.body import LspDataset
from ..transforms.loading import read_size

# The first two sides of the array of joints.
LAYOUTS = {(14, 3): 'lspet', (3, 14): 'lsp'}
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
# The images' names.
FILE_NAMES = dict(lspet='im{:05d}.jpg', lsp='im{:04d}.jpg')


def load_joints(path: str) -> Tuple[str, np.ndarray, np.ndarray]:
    """Read a ``joints.mat``.

    LSPET's array is 14x3xN and its third column is 1 for a labelled joint;
    joints that are not labelled have meaningless coordinates. LSP's is 3x14xN,
    all joints are labelled, and its third row is 1 for a *hidden* one.

    Args:
        path (str): The file.

    Returns:
        tuple:
        - name (str): ``'lsp'`` or ``'lspet'``.
        - joints (np.ndarray): x and y in pixels, (N, 14, 2).
        - flags (np.ndarray): COCO's visibility (0 not labelled, 1 hidden, 2
          visible), (N, 14).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a ``joints.mat`` of LSP or LSPET.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(
            f'{path} is missing; unpack the archive of LSP '
            'or LSPET and pass its folder.')
    try:
        array = loadmat(path)['joints'].astype(np.float64)
        name = LAYOUTS[array.shape[:2]]
        axes = (1, 2, 0) if name == 'lspet' else (0, 2, 1)
        x, y, third = array.transpose(axes)
    except Exception as error:
        raise ValueError(f'{path} is not the joints.mat of LSP or LSPET: '
                         f'{error!r}. Unpack the archive again.') from error
    if not np.isin(third, (0, 1)).all():
        raise ValueError(f'{path} has visibility flags other than 0 and 1; it '
                         'is not the joints.mat of LSP or LSPET.')
    flags = 2 * third if name == 'lspet' else 2 - third
    return name, np.stack([x, y], axis=2), flags.astype(np.int64)


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
        return f'{labelled.sum()} joints labelled, fewer than {MIN_JOINTS}'
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
    bounds = [min(first, number + 1) for first in starts.values()]
    splits = dict(zip(starts, map(range, bounds, [*bounds[1:], number + 1])))
    if not splits['train'] or not splits['val']:
        raise ValueError(
            f'with val from image {starts["val"]} on, train or val has none '
            f'of the {number} images; pass --val-from (val_from) with a '
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
        FileNotFoundError: If ``joints.mat`` is missing.
        OSError: If ``out`` cannot be written.
        ValueError: If an image is missing or cannot be read, or ``out`` has
            other images.
    """
    name, joints, flags = load_joints(osp.join(source, 'joints.mat'))
    splits = split_records(name, len(joints), val_from)
    file_names = [
        FILE_NAMES[name].format(number)
        for number in range(1,
                            len(joints) + 1)
    ]
    images = osp.abspath(osp.join(source, 'images'))
    sizes = [
        read_size(osp.join(images, file)) for file in with_bar(file_names)
    ]
    out_images = osp.join(out, 'images')
    if not osp.lexists(out_images):
        os.makedirs(out, exist_ok=True)
        os.symlink(images, out_images)
    elif not {*file_names} <= {*os.listdir(out_images)}:
        raise ValueError(f'{out_images} lacks images of {source}; copy them '
                         'there or choose another folder to write to.')
    files: Dict[str, Dict[str, Any]] = {
        f'{name}_{split}.json':
        dict(
            info=dict(description=f'{name.upper()} {split}, converted by '
                      'lgm_pose_plugin'),
            licenses=[],
            images=[],
            annotations=[],
            categories=[person_category(LspDataset.METAINFO)])
        for split in splits
    }
    removed = []
    for (split, numbers), content in zip(splits.items(), files.values()):
        for number in numbers:
            record = joints[number - 1], flags[number - 1], sizes[number - 1]
            file_name, (width, height) = file_names[number - 1], record[2]
            fault = find_fault(*record)
            if fault:
                removed.append(
                    dict(file_name=file_name, split=split, reason=fault))
                continue
            content['images'].append(
                dict(
                    id=number, file_name=file_name, width=width,
                    height=height))
            content['annotations'].append(
                dict(id=number, image_id=number, **annotate(*record)))
    files[f'{name}_removed.json'] = dict(removed=removed)
    for file, content in files.items():
        write_json(osp.join(out, 'annotations', file), content)
    return files
