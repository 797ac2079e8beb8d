"""Export top-down networks to files, and check what was written.

The graph takes crops of people and returns their key points; everything else
a user of the file needs is in its metadata, see docs/export.md.
"""
import os
import os.path as osp
import tempfile
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmpose.models import TopdownPoseEstimator

from lgm_pose_plugin.datasets.samples import (find_samples, pipeline_batch,
                                              rendered_samples)
from lgm_pose_plugin.models.builder import build_model, load_config
from lgm_pose_plugin.runtime.preprocessing import normalize as normalize_crops
from lgm_pose_plugin.runtime.session import open_session
from lgm_pose_plugin.utils.files import write_json
from lgm_pose_plugin.utils.machine import describe_machine
from .agreement import check_agreement, compare, evaluation_people
from .checks import check_keypoints, check_maps
from .formats import FORMATS, Format, choose_batch
from .graph import (RTMLIB, ExportedNetwork, describe, from_rtmlib,
                    graph_inputs, reference_maps, run_session)
from .quantize import check_runs

People = List[Dict[str, Any]]


class Exporter:
    """Writes the files of one network to a folder and checks them.

    Args:
        cfg (Config): A top-down config.
        model (:obj:`TopdownPoseEstimator`): Its network.
        people (list[dict]): People to check the file on, what the config's
            test pipeline starts from.
        format (Format): The format.
        normalize (bool): See :func:`export`.
        decode (bool): See :func:`export`.
        batch (int | str): See :func:`export`.
        float16 (bool): See :func:`export`.
        rtmlib (bool): See :func:`export`.
        folder (str): The folder to write to.

    Attributes:
        metadata (dict): See :func:`describe`.
        final (str): The file that a user gets.

    Raises:
        ValueError: If the network cannot be exported.
    """

    def __init__(self, cfg: Config, model: TopdownPoseEstimator,
                 people: People, format: Format, normalize: bool, decode: bool,
                 batch: Union[int, str], float16: bool, rtmlib: bool,
                 folder: str) -> None:
        self.cfg, self.model, self.normalize = cfg, model, normalize
        self.format, self.folder = format, folder
        self.metadata = describe(cfg, model, normalize, decode)
        if float16:
            self.metadata['precision'] = 'float16'
        crops = pipeline_batch(cfg, people)
        self.inputs = graph_inputs(model, crops, normalize or rtmlib)
        self.expected = reference_maps(model, crops)
        maps = self.expected[0].shape[1]
        keypoints = len(self.metadata['keypoint_names'])
        if maps != keypoints:
            raise ValueError(
                f'{cfg.filename} cannot be exported: its head returns {maps} '
                f'maps or vectors, but its test data set has {keypoints} key '
                'points')
        if rtmlib:
            self.metadata.update(RTMLIB)
            self.inputs = normalize_crops(self.inputs, self.metadata)
        size = batch if isinstance(batch, int) else 2
        self.example = np.resize(self.inputs, (size, *self.inputs.shape[1:]))
        network = ExportedNetwork(model, normalize or rtmlib, decode)
        if rtmlib:
            network.preprocess = partial(from_rtmlib, model.data_preprocessor)
        # The same graph with all outputs and with those of a user.
        self.full, self.final = self._path('full'), self._path('final')
        self.decoded, self.maps = format.write(network.eval(),
                                               torch.from_numpy(self.example),
                                               self.full, batch == 'dynamic',
                                               float16)
        self._finish(self.full)

    def _path(self, name: str, suffix: Optional[str] = None) -> str:
        return osp.join(self.folder, name + (suffix or self.format.suffix))

    def _finish(self, full: str) -> None:
        self.format.finish(full, self.final, self.decoded or self.maps,
                           self.metadata)

    def check(self) -> Dict[str, Any]:
        """Compare the file, before it is quantised, with MMPose.

        Returns:
            dict: The maps' names, and what :func:`check_maps` and
            :func:`check_keypoints` return.

        Raises:
            ExportError: If the file does not compute what MMPose computes.
        """
        outputs = run_session(self.format.open(self.full), self.inputs)
        found = [outputs[name] for name in self.maps]
        precision = self.metadata['precision']
        check = dict(
            maps=self.maps, **check_maps(self.expected, found, precision))
        if self.decoded:
            outputs = run_session(open_session(self.final), self.inputs)
            check.update(
                check_keypoints(self.model.head.decoder, self.expected, found,
                                outputs['keypoints'], precision))
        return check

    def quantize(self, calibration: People, people: People,
                 evaluators: Optional[List[Evaluator]],
                 reduce_range: bool) -> Dict[str, Any]:
        """Replace the float file by one in int8, and compare the two.

        Args:
            calibration (list[dict]): People to calibrate on, if the format
                needs them.
            people (list[dict]): People to compare on.
            evaluators (list[Evaluator], optional): See :func:`compare`.
            reduce_range (bool): See :func:`export`.

        Returns:
            dict: The float file's size, the nodes that stay in float, and
            what :func:`compare` returns.

        Raises:
            ExportError: If int8 destroys the network.
            ValueError: If the runtime does not run the int8 file.
        """
        size, full = self.format.size(self.final), self._path('full-int8')
        inputs = None
        if self.format.calibrates:
            crops = pipeline_batch(self.cfg, calibration)
            inputs = graph_inputs(self.model, crops, self.normalize)
        assert self.format.quantize
        kept = self.format.quantize(self.full, full, inputs, reduce_range)
        self.metadata['precision'] = 'int8'
        self.final = self._path('int8')
        self._finish(full)
        check_runs(self.final, self.example)
        compared = compare(self.model, self.cfg, people,
                           [open_session(file) for file in (self.full, full)],
                           self.normalize, evaluators)
        check_agreement(compared['agreement'])
        return dict(bytes_float32=size, float_nodes=kept, **compared)


def export(config: str,
           checkpoint: Optional[str],
           out: str,
           *,
           format: str = 'onnx',
           batch: Optional[Union[int, str]] = None,
           decode: bool = True,
           normalize: bool = True,
           images: Sequence[str] = (),
           dataset: bool = False,
           samples: int = 16,
           float16: bool = False,
           rtmlib: bool = False,
           int8: bool = False,
           calibration: int = 300,
           eval_samples: Optional[int] = None,
           reduce_range: bool = False,
           cfg_options: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """Export a network to a file and check the file against MMPose.

    Writes ``out`` (for OpenVINO the .bin beside it, for ncnn the .bin and the
    .json; Core ML's is a folder) and the report ``out + '.report.json'`` if
    the check succeeds, else nothing; a file of that name stays as it is then.

    Args:
        config (str): See :func:`~lgm_pose_plugin.models.builder.load_config`.
        checkpoint (str, optional): Path or URL of the weights, ``None`` for
            random ones.
        out (str): The file to write, ending in .onnx, .xml, .tflite, .param
            or .mlpackage.
        format (str): ``'onnx'``, ``'openvino'``, ``'tflite'``, ``'ncnn'`` or
            ``'coreml'``, where the check runs what coremltools converted, in
            torch. Defaults to ``'onnx'``.
        batch (int | str, optional): The batch size, or ``'dynamic'`` for any.
            Defaults to ``'dynamic'``, for tflite, ncnn and coreml to 1.
        decode (bool): Whether the graph returns key points and scores, else
            heat maps or SimCC's vectors, as ncnn's and Core ML's files always
            do. Defaults to ``True``.
        normalize (bool): Whether the graph takes uint8 BGR crops, else
            normalized float32 ones. Defaults to ``True``.
        images (Sequence[str]): Pictures or folders for the check, and to
            calibrate on. Each whole picture is one person. Without them and
            the data set the check renders people.
        dataset (bool): Whether the check takes the first people of the
            config's test data set, and calibration people of its training
            data set. Defaults to ``False``.
        samples (int): People the check takes at most. Defaults to 16.
        float16 (bool): Whether weights, and in ONNX and Core ML files the
            operators before the decoding, have 16 bits. Defaults to ``False``.
        rtmlib (bool): Whether the graph takes crops as rtmlib's classes
            normalize them, and returns heat maps or SimCC's vectors. Sports2D
            and Pose2Sim use these classes. Defaults to ``False``.
        int8 (bool): Whether to quantise the network after the check, see
            quantize.py (in tflite its weights alone), and to measure what it
            costs, see agreement.py. Needs ``images`` or ``dataset``. Defaults
            to ``False``.
        calibration (int): People to calibrate on at most. Defaults to 300.
        eval_samples (int, optional): With ``int8`` and ``dataset``, take the
            metrics from the images of the first so many people. Defaults to
            the whole test data set.
        reduce_range (bool): Whether int8 weights have 7 bits, for x86 CPUs
            without VNNI. Defaults to ``False``.
        cfg_options (dict, optional): Options of the config.

    Returns:
        dict: The report.

    Raises:
        ExportError: If the file does not compute what MMPose computes, or
            int8 destroys the network.
        FileNotFoundError: If a file or folder does not exist.
        ImportError: If a package is missing.
        ValueError: If anything else is not as described.
    """
    batch = choose_batch(out, format, batch)
    kind = FORMATS[format]
    numbers = [samples, calibration]
    numbers += [] if eval_samples is None else [eval_samples]
    faults = ((min(numbers)
               < 1, 'samples, calibration and eval_samples must be at '
               f'least 1, got {min(numbers)}'),
              (rtmlib and (int8 or format != 'onnx'),
               'rtmlib takes files of the format onnx, without int8'),
              (int8 and float16, 'choose one of int8 and float16'),
              (int8 and not kind.quantize, f'{format} files cannot be '
               'quantised, only those of '
               f'{", ".join(n for n in FORMATS if FORMATS[n].quantize)}'),
              (int8 and not (images or dataset),
               'int8 is calibrated and checked on people like '
               'those that the network will see: give their pictures (images, '
               "--images) or take the config's data set (dataset, --dataset)"),
              (eval_samples
               and not (int8 and dataset), 'eval_samples needs int8 '
               'and dataset: they are for the metrics before and after'),
              (reduce_range and not int8, 'reduce_range needs int8'),
              (reduce_range and not kind.calibrates, f'{format} files compute '
               'in float and take no reduce_range'))
    for wrong, fault in faults:
        if wrong:
            raise ValueError(fault)
    made_with = describe_machine(
        ['torch', 'mmpose', 'mmengine', 'numpy', 'onnx', *kind.packages] +
        [kind.quantizer] * int8)
    cfg = load_config(config, cfg_options)
    model = build_model(cfg, checkpoint)
    raw = (
        find_samples(cfg, images, dataset, samples)
        or rendered_samples(samples))
    raw = raw * 2 if len(raw) == 1 else raw  # for batches of two sizes
    if int8:
        calibrated = (
            find_samples(cfg, images, dataset, calibration, 'train')
            if images or kind.calibrates else [])
        people, evaluators = (
            evaluation_people(cfg, eval_samples) if dataset else
            (calibrated, None))
    crops = 'images' if images else 'dataset' if dataset else 'rendered'
    with tempfile.TemporaryDirectory(
            dir=osp.dirname(out) or os.curdir, prefix='.export-') as folder:
        exporter = Exporter(cfg, model, raw, kind, normalize and not rtmlib,
                            decode and kind.decodes and not rtmlib, batch,
                            float16, rtmlib, folder)
        report: Dict[str, Any] = dict(
            file=osp.basename(out),
            format=format,
            batch=batch,
            checkpoint=checkpoint and osp.basename(checkpoint),
            metadata=exporter.metadata,
            check=dict(
                crops=crops, number_of_crops=len(raw), **exporter.check()),
            environment=made_with)
        if int8:
            report['int8'] = dict(
                calibration=dict(
                    crops=crops,
                    number_of_crops=len(calibrated) * kind.calibrates),
                reduce_range=reduce_range,
                **exporter.quantize(calibrated, people, evaluators,
                                    reduce_range))
        report['bytes'] = kind.size(exporter.final)
        write_json(out + '.report.json', report, indent=2)
        kind.move(exporter.final, out)
    return report
