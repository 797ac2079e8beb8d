"""People for checks and calibration, as a top-down pipeline takes them."""
import copy
import os
import os.path as osp
import sys
from contextlib import redirect_stdout
from typing import Any, Dict, List, Sequence

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose, pseudo_collate
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.registry import DATASETS

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.datasets.transforms.loading import read_size
from lgm_pose_plugin.utils.files import IMAGE_SUFFIXES


def list_pictures(paths: Sequence[str]) -> List[str]:
    """List pictures.

    Args:
        paths (Sequence[str]): Pictures and folders of pictures.

    Returns:
        list[str]: The pictures.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no picture.
    """
    files = []
    for path in paths:
        if osp.isdir(path):
            files += [
                osp.join(path, name) for name in sorted(os.listdir(path))
                if name.lower().endswith(IMAGE_SUFFIXES)
            ]
        elif osp.isfile(path):
            files.append(path)
        else:
            raise FileNotFoundError(f'there is no picture or folder {path}')
    if not files:
        raise ValueError(f'there are no pictures in {", ".join(paths)} '
                         f'(names ending in {", ".join(IMAGE_SUFFIXES)})')
    return files


def image_samples(cfg: Config, paths: Sequence[str],
                  samples: int) -> List[Dict[str, Any]]:
    """List pictures, each with the whole of it as the person's box.

    Args:
        cfg (Config): A config with a data set, whose key points are taken.
        paths (Sequence[str]): Pictures and folders of pictures.
        samples (int): How many at most.

    Returns:
        list[dict]: What the pipeline of a top-down config starts from.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no picture or one cannot be read.
    """
    meta, raw = dataset_meta_from_config(cfg) or {}, []
    for file in list_pictures(paths)[:samples]:
        box = np.array([[0, 0, *read_size(file)]], np.float32)
        score = np.ones(1, np.float32)
        raw.append(dict(meta, img_path=file, bbox=box, bbox_score=score))
    return raw


def open_dataset(cfg: Config, split: str = 'test') -> BaseDataset:
    """Read a config's data set.

    Args:
        cfg (Config): The config.
        split (str): ``'train'``, ``'val'`` or ``'test'``. Defaults to
            ``'test'``.

    Returns:
        BaseDataset: The people; ``get_data_info`` gives what the pipeline of
        a top-down config starts from.

    Raises:
        ValueError: If the data set is not there or empty.
    """
    try:
        # xtcocotools prints.
        with redirect_stdout(sys.stderr):
            dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    except (AssertionError, AttributeError, FileNotFoundError, KeyError,
            TypeError, ValueError) as error:
        raise ValueError(
            f'the {split} data set of {cfg.filename} cannot be read: {error}; '
            f'set e.g. {split}_dataloader.dataset.data_root and '
            f'{split}_dataloader.dataset.bbox_file=None') from error
    if not len(dataset):
        raise ValueError(f'the {split} data set of {cfg.filename} is empty')
    return dataset


def pipeline_batch(cfg: Config, raw: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Run samples through a config's test pipeline.

    Args:
        cfg (Config): A top-down config.
        raw (list[dict]): The N samples.

    Returns:
        dict: ``inputs``, N BGR crops, each uint8 of shape ``(3, H, W)``, and
        ``data_samples``.
    """
    pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
    return pseudo_collate([pipeline(copy.deepcopy(one)) for one in raw])


def rendered_samples(samples: int) -> List[Dict[str, Any]]:
    """Render people, for crops where there are no pictures.

    Args:
        samples (int): How many people.

    Returns:
        list[dict]: What the pipeline of a top-down config starts from.
    """
    raw: List[Dict[str, Any]] = []
    while len(raw) < samples:
        image, people = render_image(np.random.default_rng([len(raw)]))
        for person in people:
            x, y, w, h = person['bbox']
            raw.append(
                dict(
                    img=image,
                    bbox=np.array([[x, y, x + w, y + h]], np.float32),
                    bbox_score=np.ones(1, np.float32)))
    return raw[:samples]


def find_samples(cfg: Config,
                 images: Sequence[str],
                 dataset: bool,
                 samples: int,
                 split: str = 'test') -> List[Dict[str, Any]]:
    """Find the people that a user of a command asks for.

    Args:
        cfg (Config): A config.
        images (Sequence[str]): Pictures or folders, see
            :func:`image_samples`.
        dataset (bool): Without ``images``, whether to take people of the
            config's data set: the first of ``'test'``, people from all over
            other splits.
        samples (int): How many at most.
        split (str): See :func:`open_dataset`. Defaults to ``'test'``.

    Returns:
        list[dict]: What the pipeline of a top-down config starts from; nobody
        without ``images`` and ``dataset``.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no picture or data set.
    """
    if images:
        return image_samples(cfg, images, samples)
    if not dataset:
        return []
    people = open_dataset(cfg, split)
    number = min(samples, len(people))
    last = number if split == 'test' else len(people)
    indices = np.linspace(0, last - 1, number)
    return [people.get_data_info(int(i)) for i in indices]
