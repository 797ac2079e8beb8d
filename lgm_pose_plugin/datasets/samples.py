"""People for checks and calibration, as a top-down pipeline takes them."""
import copy
import os
import os.path as osp
import sys
from contextlib import redirect_stdout
from typing import List, Sequence

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmpose.apis.inference import dataset_meta_from_config
from mmpose.registry import DATASETS
from torch import Tensor, nn
from torch.utils.data import Dataset

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.datasets.transforms.loading import read_size
from lgm_pose_plugin.utils.files import IMAGE_SUFFIXES


def image_samples(cfg: Config, paths: Sequence[str],
                  samples: int) -> List[dict]:
    """List pictures, each with the whole of it as the person's box.

    Args:
        cfg (Config): A config, whose data set tells the key points.
        paths (Sequence[str]): Pictures and folders of pictures.
        samples (int): How many at most.

    Returns:
        list[dict]: What the pipeline of a top-down config starts from.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no picture or one cannot be read.
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
    meta, raw = dataset_meta_from_config(cfg) or {}, []
    for file in files[:samples]:
        box = np.array([[0, 0, *read_size(file)]], np.float32)
        score = np.ones(1, np.float32)
        raw.append(dict(meta, img_path=file, bbox=box, bbox_score=score))
    return raw


def open_dataset(cfg: Config, split: str = 'test') -> Dataset:
    """Read a config's data set, without its pipeline.

    Args:
        cfg (Config): The config.
        split (str): ``'train'``, ``'val'`` or ``'test'``. Defaults to
            ``'test'``.

    Returns:
        Dataset: The people, each what the pipeline of a top-down config
        starts from.

    Raises:
        ValueError: If the data set is not there or empty.
    """
    try:
        # xtcocotools prints.
        with redirect_stdout(sys.stderr):
            dataset = DATASETS.build(
                _without_pipeline(cfg[f'{split}_dataloader'].dataset))
    except (AssertionError, AttributeError, FileNotFoundError, KeyError,
            TypeError, ValueError) as error:
        raise ValueError(
            f'the {split} data set of {cfg.filename} cannot be read: {error}; '
            f'set e.g. {split}_dataloader.dataset.data_root and '
            f'{split}_dataloader.dataset.bbox_file=None') from error
    if not len(dataset):
        raise ValueError(f'the {split} data set of {cfg.filename} is empty')
    return dataset


def _without_pipeline(cfg: dict) -> dict:
    """A data set's config without its pipeline, maybe that of wrapped ones.

    The data sets that MMPose's CombinedDataset joins keep theirs, which bring
    them to common key points.
    """
    if 'pipeline' in cfg:
        return dict(cfg, pipeline=[])
    if 'dataset' in cfg:
        return dict(cfg, dataset=_without_pipeline(cfg['dataset']))
    if 'datasets' in cfg:
        return dict(
            cfg, datasets=list(map(_without_pipeline, cfg['datasets'])))
    return cfg


def dataset_samples(cfg: Config, samples: int) -> List[dict]:
    """Read the first people of a config's test data set.

    Args:
        cfg (Config): The config.
        samples (int): How many people at most.

    Returns:
        list[dict]: What the pipeline of a top-down config starts from.

    Raises:
        ValueError: If the data set is not there or empty.
    """
    dataset = open_dataset(cfg)
    return [dataset[i] for i in range(min(samples, len(dataset)))]


def pipeline_inputs(model: nn.Module, cfg: Config, raw: List[dict]) -> Tensor:
    """Run samples through a config's test pipeline and preprocessor.

    Args:
        model (nn.Module): The network.
        cfg (Config): Its config.
        raw (list[dict]): The N samples.

    Returns:
        Tensor: Inputs of shape ``(N, 3, H, W)``.
    """
    return model.data_preprocessor(pipeline_batch(cfg, raw), False)['inputs']


def pipeline_batch(cfg: Config, raw: List[dict]) -> dict:
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


def rendered_samples(samples: int) -> List[dict]:
    """Render people, for crops where there are no pictures.

    Args:
        samples (int): How many people.

    Returns:
        list[dict]: What the pipeline of a top-down config starts from.
    """
    raw: List[dict] = []
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


def calibration_samples(cfg: Config, images: Sequence[str], dataset: bool,
                        samples: int) -> List[dict]:
    """Find people to calibrate on.

    Args:
        cfg (Config): A config.
        images (Sequence[str]): Pictures or folders, a whole picture being a
            person.
        dataset (bool): Whether to take people from all over the config's
            training data set. Without pictures and it they are rendered.
        samples (int): How many at most.

    Returns:
        list[dict]: What the pipeline of a top-down config starts from.

    Raises:
        FileNotFoundError: If a path does not exist.
        ValueError: If there is no picture or data set.
    """
    if images:
        return image_samples(cfg, images, samples)
    if not dataset:
        return rendered_samples(samples)
    people = open_dataset(cfg, 'train')
    indices = np.linspace(0, len(people) - 1, min(samples, len(people)))
    return [people[int(i)] for i in indices]
