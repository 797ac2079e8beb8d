"""What a network loses by int8: agreement of key points, and its metrics."""
import sys
from contextlib import redirect_stdout
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from mmpose.models import TopdownPoseEstimator

from lgm_pose_plugin.datasets.samples import open_dataset, pipeline_batch
from lgm_pose_plugin.runtime.session import Session
from lgm_pose_plugin.utils.errors import explain_errors
from lgm_pose_plugin.utils.progress import with_bar
from .graph import (MAP_NAMES, ExportError, decode_maps, graph_inputs,
                    run_session)

BATCH = 32  # people at a time
CONFIDENT = .3  # of the highest score; places of the others mean little
NEAR = .05  # of the crop's longer side
# Below half of it, the file is of no use.
LEAST = .5


def evaluation_people(
        cfg: Config,
        people: Optional[int]) -> Tuple[List[Dict[str, Any]], List[Evaluator]]:
    """Read a config's test data set and build two of its evaluators.

    Args:
        cfg (Config): A config.
        people (int, optional): Take only the images of the first so many
            people, with all their people. ``None`` takes all.

    Returns:
        tuple[list[dict], list[Evaluator]]: What the test pipeline starts from
        for each person, and the evaluators, restricted to the taken images.

    Raises:
        ValueError: If the data set or the metrics cannot be built.
    """
    dataset = open_dataset(cfg)
    raw = [dataset.get_data_info(i) for i in range(len(dataset))]
    taken = {one['img_id'] for one in raw[:people]}
    with redirect_stdout(sys.stderr), explain_errors(  # xtcocotools prints
            f'the metrics of {cfg.filename} cannot be built, set e.g. '
            'test_evaluator.ann_file'):
        evaluators = [Evaluator(cfg.test_evaluator) for _ in range(2)]
        for evaluator in evaluators:
            evaluator.dataset_meta = dataset.metainfo
            for metric in evaluator.metrics:
                coco = getattr(metric, 'coco', None)
                if people and coco:
                    index = coco.dataset
                    index['images'] = coco.loadImgs(list(taken))
                    index['annotations'] = coco.loadAnns(
                        coco.getAnnIds(list(taken)))
                    coco.createIndex()
    return [one for one in raw if one['img_id'] in taken], evaluators


def compare(
        model: TopdownPoseEstimator,
        cfg: Config,
        raw: List[Dict[str, Any]],
        sessions: Sequence[Session],
        normalize: bool,
        evaluators: Optional[Sequence[Evaluator]] = None) -> Dict[str, Any]:
    """Run two files of a network on the same people.

    Both are decoded by the network's codec, without flip test.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network in MMPose.
        cfg (Config): Its config.
        raw (list[dict]): The N people, what the pipeline starts from.
        sessions (Sequence[Session]): The float and the int8 file, which
            return maps.
        normalize (bool): Whether the files take uint8 crops.
        evaluators (Sequence[Evaluator], optional): Evaluators that are given
            the predictions of each file.

    Returns:
        dict: ``agreement``, see :func:`agreement`, and with evaluators
        ``accuracy``: their metrics before (``float32``) and after (``int8``).
    """
    rows = []
    for start in with_bar(range(0, len(raw), BATCH), unit='batch'):
        batch = pipeline_batch(cfg, raw[start:start + BATCH])
        inputs = graph_inputs(model, batch, normalize)
        decoded: List[np.ndarray] = []
        for i, session in enumerate(sessions):
            outputs = run_session(session, inputs)
            maps = [outputs[name] for name in MAP_NAMES if name in outputs]
            keypoints, scores = decode_maps(model.head.decoder, maps)
            decoded += [keypoints, scores]
            if evaluators:
                instances = [
                    InstanceData(
                        keypoints=keypoints[j:j + 1].copy(),
                        keypoint_scores=scores[j:j + 1])
                    for j in range(len(inputs))
                ]
                evaluators[i].process(
                    model.add_pred_to_datasample(instances, None,
                                                 batch['data_samples']), batch)
        rows.append(decoded)
    expected, expected_scores, found, found_scores = (
        np.concatenate(column) for column in zip(*rows))
    side = max(batch['inputs'][0].shape[1:])
    report: Dict[str, Any] = dict(
        agreement=dict(
            number_of_crops=len(raw),
            **agreement(expected, expected_scores, found, found_scores, side)))
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


def agreement(expected: np.ndarray, expected_scores: np.ndarray,
              found: np.ndarray, scores: np.ndarray,
              side: int) -> Dict[str, Any]:
    """Compare key points of an int8 file with those of the float file.

    Only where the float file is confident: its score is above zero and at
    least ``CONFIDENT`` of the highest.

    Args:
        expected (np.ndarray): The float file's, in pixels of the crop, of
            shape ``(N, K, 2)``.
        expected_scores (np.ndarray): The float file's scores, ``(N, K)``.
        found (np.ndarray): The int8 file's key points.
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
    """Refuse an int8 network that is useless.

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
