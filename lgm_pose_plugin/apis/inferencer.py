"""Key points of people from Python, as ``lgm-pose predict`` finds them.

Itself needs neither torch nor MMPose; a checkpoint does.
"""
import copy
import os
import warnings
from contextlib import closing
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import (Any, Callable, Dict, Generator, Iterator, List, Optional,
                    Sequence, Tuple, Union)

import numpy as np

from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime, is_exported
from lgm_pose_plugin.runtime.preprocessing import as_boxes
from lgm_pose_plugin.setup_env import set_up_mmpose
from .coco_files import Boxes
from .detector_zoo import AUTO, export_once
from .person_detector import PersonDetector
from .predictor import FindPeople, Network, Predictor, look_twice, whole_image
from .results import PoseResult, SourceWriter
from .sources import DEFAULT_FPS, TIMEOUT, Frame, find_sources

# For those who name no network: one that lies in the package.
DEFAULT_MODEL = 'lgm-pose_body17-256x192'
# A picture, or what names pictures, videos and cameras.
Input = Union[str, 'os.PathLike[str]', np.ndarray]


def open_exported(file: str,
                  backend: Optional[str] = None,
                  threads: int = 1,
                  flip_test: bool = False,
                  device: str = 'cpu') -> Tuple[Network, Dict[str, Any]]:
    """Open an exported network that finds key points.

    Args:
        file (str): See :class:`~lgm_pose_plugin.runtime.PoseRuntime`.
        backend (str, optional): As ``file``.
        threads (int): As ``file``. Defaults to 1.
        flip_test (bool): Whether to average with the mirrored image. Defaults
            to ``False``.
        device (str): As ``file``. Defaults to ``'cpu'``.

    Returns:
        tuple[callable, dict]: See :data:`~.predictor.Network`; and the file's
        metadata, with ``keypoint_names`` and ``skeleton``.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime is not installed.
        ValueError: If the file cannot be run, or cannot do the flip test.
    """
    runtime = PoseRuntime(file, backend, threads, device)
    if flip_test and runtime.metadata['decode']:
        raise ValueError(f'the flip test needs {runtime.file} exported with '
                         '--no-decode')
    return (partial(runtime.predict_batch,
                    flip_test=flip_test), runtime.metadata)


def open_checkpoint(
    config: str,
    checkpoint: Optional[str] = None,
    device: Optional[str] = None,
    flip_test: bool = False,
    cfg_options: Optional[Dict[str, Any]] = None
) -> Tuple[Network, Dict[str, Any]]:
    """Open a network of MMPose that finds key points.

    Args:
        config (str): See :class:`~.pose_model.PoseModel`.
        checkpoint (str, optional): As ``config``. Defaults to the weights
            that are published of a model.
        device (str, optional): As ``config``. Defaults to a GPU if there is
            one.
        flip_test (bool): Whether to average with the mirrored image also
            where the config does not say so. Defaults to ``False``.
        cfg_options (dict, optional): Options of the config.

    Returns:
        tuple[callable, dict]: See :func:`open_exported`.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ImportError: If MMPose is missing.
        ValueError: If the config or the checkpoint does not fit.
    """
    set_up_mmpose()
    from lgm_pose_plugin.model_index import published_weights
    from .pose_model import PoseModel
    options = dict(cfg_options or {})
    if flip_test:
        options['model.test_cfg.flip_test'] = True
    model = PoseModel(config, checkpoint or published_weights(config), device,
                      options)
    return model.predict_batch, model.metadata


def open_detector(network: Network,
                  det_model: Optional[str] = None,
                  det_weights: Optional[str] = None,
                  det_cat_ids: Optional[Sequence[int]] = None,
                  bbox_thr: float = 0.3,
                  nms_thr: Optional[float] = 0.3,
                  device: Optional[str] = None,
                  threads: int = 1) -> Tuple[FindPeople, List[str]]:
    """Open what finds people.

    Args:
        network (callable): The network that finds key points.
        det_model (str, optional): See :class:`PoseInferencer`.
        det_weights (str, optional): As ``det_model``.
        det_cat_ids (Sequence[int], optional): As ``det_model``.
        bbox_thr (float): See :meth:`PoseInferencer.__call__`.
        nms_thr (float, optional): As ``bbox_thr``.
        device (str, optional): As ``det_model``.
        threads (int): As ``det_model``.

    Returns:
        tuple[callable, list[str]]: See :data:`~.predictor.FindPeople`, often
        a :class:`~.person_detector.PersonDetector`; and what to tell of it.

    Raises:
        FileNotFoundError: See :class:`~.person_detector.PersonDetector`.
        ImportError: As ``FileNotFoundError``.
        ValueError: As ``FileNotFoundError``.
    """
    if det_model in ('whole_image', 'whole-image'):  # as MMPose spells it
        return whole_image, []
    if det_model == 'whole':
        return look_twice(network), []
    if det_model in (None, AUTO):
        if det_weights:
            raise ValueError('the weights of a detector need its config')
        try:
            det_model = export_once(AUTO)
        except (ImportError, OSError, ValueError) as error:
            return look_twice(network), [
                f'no person detector ({error}): taking each picture as one '
                "person, in two passes as the detector 'whole'"
            ]
    return PersonDetector(det_model, det_weights, det_cat_ids, bbox_thr,
                          nms_thr, device, threads), []


class PoseInferencer:
    """Finds people and their key points in pictures and videos.

    Arguments that MMPose's ``MMPoseInferencer`` has, too, have its names.

    Args:
        pose2d (str, optional): The network: one that lies in the package, by
            its name; a file of ``lgm-pose export``, as .onnx or .tflite; or a
            config of MMPose, a path or the name of a model. The first two
            need neither torch nor MMPose. Defaults to ``DEFAULT_MODEL``.
        pose2d_weights (str, optional): Path or URL of the weights of a
            config. Defaults to those that are published of a model.
        device (str, optional): What computes, as ``'cuda:0'``; for files see
            :class:`~lgm_pose_plugin.runtime.PoseRuntime`. Defaults to the
            CPU for files, to a GPU if there is one for configs.
        det_model (str, optional): What finds the people: ``'auto'``, MMPose's
            default detector, which is downloaded and exported once; a file
            (.onnx or .xml); the name of a model of MMDetection, as
            ``'rtmdet-m'``; with ``det_weights`` a config of MMDetection;
            ``'whole'``, one person found in two passes; ``'whole_image'``,
            the picture as the box of one person. Defaults to ``'auto'``, and
            with a warning to ``'whole'`` where that cannot be had.
        det_weights (str, optional): Path or URL of the weights of a
            detector's config.
        det_cat_ids (int | Sequence[int], optional): Indices of the detector's
            classes to take. Defaults to that of ``person``.
        backend (str, optional): What runs ``pose2d``, ``'onnxruntime'`` or
            ``'openvino'``. Defaults to ONNX Runtime for .onnx files.
        threads (int): Threads that run each file. Defaults to 1.
        flip_test (bool): Whether to average with the mirrored image; files
            need ``--no-decode`` for it. Defaults to ``False``, and to what a
            config says.
        cfg_options (dict, optional): Options of the config.

    Attributes:
        keypoint_names (list[str]): Names of the K key points.
        skeleton (list): Pairs of indices of key points.

    Raises:
        FileNotFoundError: If a file is missing or cannot be downloaded.
        ImportError: If a package that is needed is missing.
        ValueError: If an argument is wrong, or a file cannot be run.

    Example:
        >>> from lgm_pose_plugin.apis import PoseInferencer
        >>> inferencer = PoseInferencer()  # doctest: +SKIP
        >>> for result in inferencer('clip.mp4', track=True):  # doctest: +SKIP
        ...     print(result.seconds, result.track_ids, result.keypoints.shape)
    """

    def __init__(self,
                 pose2d: Optional[str] = None,
                 pose2d_weights: Optional[str] = None,
                 device: Optional[str] = None,
                 det_model: Optional[str] = None,
                 det_weights: Optional[str] = None,
                 det_cat_ids: Union[int, Sequence[int], None] = None,
                 *,
                 backend: Optional[str] = None,
                 threads: int = 1,
                 flip_test: bool = False,
                 cfg_options: Optional[Dict[str, Any]] = None):
        pose2d = pose2d or DEFAULT_MODEL
        if pose2d_weights or not is_exported(pose2d):
            self._network, metadata = open_checkpoint(pose2d, pose2d_weights,
                                                      device, flip_test,
                                                      cfg_options)
        else:
            self._network, metadata = open_exported(pose2d, backend, threads,
                                                    flip_test, device or 'cpu')
        self.keypoint_names: List[str] = metadata['keypoint_names']
        self.skeleton: List[Tuple[int, int]] = metadata['skeleton']
        if isinstance(det_cat_ids, int):
            det_cat_ids = [det_cat_ids]
        self._detector, notes = open_detector(
            self._network,
            det_model,
            det_weights,
            det_cat_ids,
            device=device,
            threads=threads)
        for note in notes:
            warnings.warn(note, stacklevel=2)

    def __call__(self,
                 inputs: Union[Input, Sequence[Input]],
                 *,
                 batch_size: int = 1,
                 bboxes: Optional[Sequence[Any]] = None,
                 bbox_thr: float = 0.3,
                 nms_thr: Optional[float] = 0.3,
                 track: bool = False,
                 smooth: bool = False,
                 det_every: int = 1,
                 fps: float = DEFAULT_FPS,
                 timeout: float = TIMEOUT,
                 out_dir: Optional[str] = None,
                 kpt_thr: float = 0.3,
                 draw_bbox: bool = False) -> Iterator[PoseResult]:
        """Find the people in pictures and videos.

        The results come as they are asked for. Reading and the network run a
        few frames ahead.

        Args:
            inputs (str | PathLike | np.ndarray | Sequence): A picture, a
                video, a folder, a pattern as ``'*/*.jpg'``, an address as
                ``'rtsp://camera/stream'``, a camera as ``'webcam:0'``, a BGR
                picture, uint8 of shape ``(H, W, 3)``; or several of these.
            batch_size (int): Frames whose people are one batch of the
                network; with ``det_every`` above 1 each is one by itself.
                Defaults to 1.
            bboxes (Sequence[np.ndarray], optional): Boxes of the people of
                each picture and frame, (left, top, right, bottom) of shape
                ``(M, 4)``, in place of the detector.
            bbox_thr (float): Boxes of the detector with at most this score
                are left out. Defaults to 0.3.
            nms_thr (float, optional): Of two boxes of the detector that
                overlap by more (IoU) one is kept; ``None`` leaves it to the
                detector. Defaults to 0.3.
            track (bool): Whether to give people track ids; the pictures of a
                folder, and arrays, are then the frames of a video. Defaults
                to ``False``.
            smooth (bool): Whether to smooth the key points of each track,
                which includes ``track``. Defaults to ``False``.
            det_every (int): The detector runs on every Nth frame, and where
                somebody is lost. In between, boxes are put around the key
                points of the frame before. Defaults to 1.
            fps (float): Pictures of a folder per second. Defaults to 30.
            timeout (float): Seconds that an address may give nothing.
                Defaults to 10.
            out_dir (str, optional): Folder to write ``predictions`` and
                ``visualizations`` to, as ``lgm-pose predict`` does. Defaults
                to none.
            kpt_thr (float): Key points that are drawn there have a higher
                score. Defaults to 0.3.
            draw_bbox (bool): Whether to draw the boxes there. Defaults to
                ``False``.

        Returns:
            Iterator[PoseResult]: The people of each picture and frame, in
            order.

        Raises:
            ValueError: If an argument is wrong; from the iterator, if an
                input cannot be read or predicted.
        """
        if isinstance(inputs, (str, os.PathLike, np.ndarray)):
            inputs = [inputs]
        sources, problems = find_sources(inputs)
        if problems:
            raise ValueError('; '.join(problems))
        for name, value in (('batch_size', batch_size), ('det_every',
                                                         det_every)):
            if value < 1:
                raise ValueError(f'{name} is at least 1, not {value}')
        results = Predictor(
            self._network,
            self._finder(bboxes, bbox_thr, nms_thr),
            self.skeleton,
            track=track,
            smooth=smooth,
            find_every=det_every,
            batch_size=batch_size,
            picture_fps=fps,
            timeout=timeout).predict(sources)
        if out_dir is None:
            return results
        return _write(results, out_dir, kpt_thr, draw_bbox)

    def _finder(self, bboxes: Optional[Sequence[Any]], bbox_thr: float,
                nms_thr: Optional[float]) -> Callable[[Frame], Boxes]:
        """Make what finds people, of the arguments of a call."""
        if bboxes is not None:
            arrays = [as_boxes(one) for one in bboxes]

            def find_people(frame: Frame) -> Boxes:
                if frame.index >= len(arrays):
                    raise ValueError(f'bboxes has {len(arrays)} entries; it '
                                     'needs one for each picture and frame')
                boxes = arrays[frame.index]
                return Boxes(boxes, np.ones(len(boxes), np.float32))

            return find_people
        # Not the inferencer's own, which another call may be using.
        detector = copy.copy(self._detector)
        if isinstance(detector, PersonDetector):
            detector.score_thr, detector.nms_thr = bbox_thr, nms_thr
        return lambda frame: detector(frame.image)


def _write(results: Generator[PoseResult, None, None], out_dir: str,
           kpt_thr: float, draw_bbox: bool) -> Iterator[PoseResult]:
    """Write results as they come."""
    with closing(results):
        for source, some in groupby(results, attrgetter('source')):
            with closing(SourceWriter(out_dir, source)) as writer:
                for result in some:
                    writer.write(result, result.draw(kpt_thr, draw_bbox))
                    yield result
