"""What a network loses by int8: agreement of key points, and its metrics."""
import sys
from contextlib import redirect_stdout
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.data import Dataset, Subset

from lgm_pose_plugin.datasets.samples import open_dataset, pipeline_batch
from lgm_pose_plugin.runtime.session import Session
from lgm_pose_plugin.utils.progress import with_bar
from .graph import (MAP_NAMES, ExportError, decode_maps, graph_inputs,
                    run_session)

BATCH = 32  # people at a time
CONFIDENT = .3  # of the highest score; places of the others mean little
NEAR = .05  # of the crop's longer side
# Below half of it, the file is of no use.
LEAST = .5


def evaluation_people(
        cfg: Config, people: Optional[int]) -> Tuple[Dataset, List[Evaluator]]:
    """Read a config's test data set and build two of its evaluators.

    Args:
        cfg (Config): A config.
        people (int, optional): Take only the images of the first so many
            people, with all their people. ``None`` takes all.

    Returns:
        tuple[Dataset, list[Evaluator]]: The people, and the evaluators, which
        know of the taken images only.

    Raises:
        ValueError: If the data set or the metrics cannot be built.
    """
    dataset = open_dataset(cfg)
    try:
        with redirect_stdout(sys.stderr):  # xtcocotools prints
            evaluators = [Evaluator(cfg.test_evaluator) for _ in range(2)]
    except (AttributeError, FileNotFoundError) as error:
        raise ValueError(
            f'the metrics of {cfg.filename} cannot be built: {error}; set '
            'e.g. test_evaluator.ann_file') from error
    for evaluator in evaluators:
        evaluator.dataset_meta = dataset.metainfo
    if people is None or people >= len(dataset):
        return dataset, evaluators
    images = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    taken = set(images[:people])
    for evaluator in evaluators:
        for metric in evaluator.metrics:
            _restrict(getattr(metric, 'coco', None), taken)
    indices = [i for i, image in enumerate(images) if image in taken]
    return Subset(dataset, indices), evaluators


def _restrict(coco: Any, images: set) -> None:
    """Let a COCO annotation file know of these images only."""
    if coco is None:
        return
    for key, field in (('images', 'id'), ('annotations', 'image_id')):
        coco.dataset[key] = [
            one for one in coco.dataset[key] if one[field] in images
        ]
    with redirect_stdout(sys.stderr):
        coco.createIndex()


def compare(model: nn.Module,
            cfg: Config,
            raw: Sequence[dict],
            sessions: Sequence[Session],
            normalize: bool,
            evaluators: Optional[Sequence[Evaluator]] = None) -> dict:
    """Run two files of a network on the same people.

    Both are decoded by the network's codec, without flip test.

    Args:
        model (nn.Module): The network in MMPose.
        cfg (Config): Its config.
        raw (Sequence[dict]): The N people, what the pipeline starts from.
        sessions (Sequence[Session]): The float and the int8 file, which
            return maps.
        normalize (bool): Whether the files take uint8 crops.
        evaluators (Sequence[Evaluator], optional): Evaluators that are given
            the predictions of each file.

    Returns:
        dict: ``agreement``, see :func:`agreement`, and with evaluators
        ``accuracy``: their metrics before (``float32``) and after (``int8``).
    """
    keypoints: Tuple[list, list] = ([], [])
    scores: Tuple[list, list] = ([], [])
    cosines, differences = [], []
    for start in with_bar(range(0, len(raw), BATCH), unit='batch'):
        people = range(start, min(start + BATCH, len(raw)))
        batch = pipeline_batch(cfg, [raw[i] for i in people])
        inputs = graph_inputs(model, batch, normalize)
        found = []
        for i, session in enumerate(sessions):
            outputs = run_session(session, inputs)
            found.append(
                [outputs[name] for name in MAP_NAMES if name in outputs])
            places, values = decode_maps(model.head.decoder, found[-1])
            keypoints[i].append(places)
            scores[i].append(values)
            if evaluators:
                evaluators[i].process(
                    model.add_pred_to_datasample([
                        InstanceData(
                            keypoints=places[j:j + 1].copy(),
                            keypoint_scores=values[j:j + 1])
                        for j in range(len(people))
                    ], None, batch['data_samples']), batch)
        for one, other in zip(*found):
            a, b = (
                array.reshape(*array.shape[:2], -1) for array in (one, other))
            norms = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
            cosines.append((a * b).sum(2)[norms > 0] / norms[norms > 0])
            differences.append(np.abs(a - b).mean(2).ravel())
    sides = max(batch['inputs'][0].shape[1:])
    report = dict(
        agreement=dict(
            number_of_crops=len(raw),
            **agreement(*(
                np.concatenate(one)
                for one in keypoints), *(np.concatenate(one)
                                         for one in scores), sides),
            maps_mean_cosine=float(np.concatenate(cosines).mean()),
            maps_mean_difference=float(np.concatenate(differences).mean())))
    if evaluators:
        with redirect_stdout(sys.stderr):
            report['accuracy'] = {
                name: {
                    key: float(value)
                    for key, value in evaluator.evaluate(len(raw)).items()
                }
                for name, evaluator in zip(('float32', 'int8'), evaluators)
            }
    return report


def agreement(expected: np.ndarray, found: np.ndarray,
              expected_scores: np.ndarray, scores: np.ndarray,
              side: int) -> Dict[str, Any]:
    """Compare key points of an int8 file with those of the float file.

    Only where the float file is confident: its score is above zero and at
    least ``CONFIDENT`` of the highest.

    Args:
        expected (np.ndarray): The float file's, in pixels of the crop, of
            shape ``(N, K, 2)``.
        found (np.ndarray): The int8 file's.
        expected_scores (np.ndarray): The float file's scores, ``(N, K)``.
        scores (np.ndarray): The int8 file's.
        side (int): The crop's longer side in pixels.

    Returns:
        dict: ``confident_keypoints``, their number; ``near``, the share of
        them that moved by at most ``near_px``; their mean and median distance
        in pixels, and mean scores.

    Raises:
        ExportError: If no key point is confident.
    """
    confident = (expected_scores > 0) & (
        expected_scores >= CONFIDENT * expected_scores.max())
    if not confident.any():
        raise ExportError('no key point could be compared: no score is above '
                          'zero, as in a network that was not trained')
    distances = np.linalg.norm(expected - found, axis=2)[confident]
    return dict(
        confident_keypoints=int(confident.sum()),
        near_px=NEAR * side,
        near=float((distances <= NEAR * side).mean()),
        mean_distance_px=float(distances.mean()),
        median_distance_px=float(np.median(distances)),
        mean_score_float32=float(expected_scores[confident].mean()),
        mean_score_int8=float(scores[confident].mean()))


def check_agreement(agreement: Dict[str, Any]) -> None:
    """Refuse an int8 network that lost its sense.

    Args:
        agreement (dict): What :func:`agreement` returns.

    Raises:
        ExportError: If less than half of the confident key points stayed near
            their place, or their mean score fell below half.
    """
    ratio = agreement['mean_score_int8'] / agreement['mean_score_float32']
    if not (agreement['near'] >= LEAST and ratio >= LEAST):
        raise ExportError(
            'int8 destroys this network: {near:.0%} of {confident_keypoints} '
            'confident key points stay within {near_px:g} px, and their mean '
            'score goes from {mean_score_float32:.3g} to {mean_score_int8:.3g}'
            '; calibrate on more crops like those it will see (--dataset, '
            '--images)'.format(**agreement))
