"""Export top-down networks to ONNX and OpenVINO, and check what was written.

The graph takes crops of people and returns their key points; everything else
a user of the file needs is in its metadata, see docs/export.md.
"""
import json
import os
import os.path as osp
import platform
import tempfile
import time
from importlib import import_module
from typing import Any, Dict, List, Optional, Sequence, Union

import mmengine
import mmpose
import numpy as np
import onnx
import torch

from lgm_pose_plugin.datasets.samples import (calibration_samples,
                                              dataset_samples, image_samples,
                                              pipeline_batch, rendered_samples)
from lgm_pose_plugin.models.builder import build_model, load_config
from lgm_pose_plugin.runtime.session import BACKENDS, MAX_BATCH, open_session
from lgm_pose_plugin.utils.files import check_out_file
from lgm_pose_plugin.utils.machine import cpu_model
from lgm_pose_plugin.version import __version__
from .checks import check_keypoints, check_maps
from .graph import (ExportedNetwork, describe, graph_inputs, reference,
                    run_session)
from .onnx_file import finish_onnx, to_onnx
from .openvino_file import finish_openvino, read_openvino, save_openvino

SUFFIXES = dict(onnx='.onnx', openvino='.xml')
RENDERED_WARNING = (
    'calibrated on rendered people, whose ranges are not those of pictures; '
    'use the data set or pictures')


def check_out(out: str, format: str) -> None:
    """Check that a file can be written, before the work is done.

    Args:
        out (str): Its path.
        format (str): ``'onnx'`` or ``'openvino'``.

    Raises:
        FileNotFoundError: If its folder does not exist.
        ValueError: If the format is unknown, the suffix is not its suffix, or
            the folder cannot be written to.
    """
    if format not in SUFFIXES:
        raise ValueError(f'unknown format {format!r}, choose one of '
                         f'{", ".join(SUFFIXES)}')
    check_out_file(out)
    if osp.splitext(out)[1] != SUFFIXES[format]:
        raise ValueError(f'the name of a file in the format {format} ends in '
                         f'{SUFFIXES[format]}, got {out}')


def environment(format: str, int8: bool) -> Dict[str, str]:
    """What the file was made and checked with.

    Args:
        format (str): ``'onnx'`` or ``'openvino'``.
        int8 (bool): Whether the network is quantised.

    Returns:
        dict[str, str]: Date, CPU and versions.

    Raises:
        ImportError: If a package is missing.
    """
    modules = [torch, mmpose, mmengine, np, onnx]
    names = [BACKENDS[SUFFIXES[format]][0]]
    if int8 and format == 'openvino':
        names.append('nncf')
    for name in names:
        try:
            modules.append(import_module(name))
        except ImportError as error:
            raise ImportError(f'{error}; pip install {name}') from error
    versions = {module.__name__: module.__version__ for module in modules}
    return {
        'date': time.strftime('%Y-%m-%d %H:%M'),
        'CPU': cpu_model(),
        'python': platform.python_version(),
        'lgm_pose_plugin': __version__,
        **versions
    }


def export(config: str,
           checkpoint: Optional[str],
           out: str,
           *,
           format: str = 'onnx',
           batch: Union[int, str] = 'dynamic',
           decode: bool = True,
           normalize: bool = True,
           images: Sequence[str] = (),
           dataset: bool = False,
           samples: int = 16,
           int8: bool = False,
           calibration: int = 300,
           eval_samples: Optional[int] = None,
           reduce_range: bool = False,
           cfg_options: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """Export a network to a file and check the file against MMPose.

    Writes ``out`` (and for OpenVINO the .bin beside it) and the report
    ``out + '.report.json'`` if the check succeeds, else nothing; a file of
    that name stays as it is then.

    Args:
        config (str): See :func:`~lgm_pose_plugin.models.builder.load_config`.
        checkpoint (str, optional): Path or URL of the weights, ``None`` for
            random ones.
        out (str): The file to write, ending in .onnx or .xml.
        format (str): ``'onnx'`` or ``'openvino'``. Defaults to ``'onnx'``.
        batch (int | str): The batch size, or ``'dynamic'`` for any. Defaults
            to ``'dynamic'``.
        decode (bool): Whether the graph returns key points and scores, else
            heat maps or SimCC's vectors. Defaults to ``True``.
        normalize (bool): Whether the graph takes uint8 BGR crops, else
            normalized float32 ones. Defaults to ``True``.
        images (Sequence[str]): Pictures or folders for the check, and to
            calibrate on, a whole picture being a person. Without them and the
            data set they are rendered.
        dataset (bool): Whether the check takes the first people of the
            config's test data set, and calibration people of its training
            data set. Defaults to ``False``.
        samples (int): People the check takes at most. Defaults to 16.
        int8 (bool): Whether to quantise the network after the check, see
            quantize.py, and to measure what it costs, see agreement.py.
            Defaults to ``False``.
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
    if batch != 'dynamic' and not (isinstance(batch, int)
                                   and 1 <= batch <= MAX_BATCH):
        raise ValueError(f"batch must be from 1 to {MAX_BATCH} or 'dynamic', "
                         f'got {batch}')
    for name, number in (('samples', samples), ('calibration', calibration),
                         ('eval_samples', eval_samples)):
        if number is not None and number < 1:
            raise ValueError(f'{name} must be at least 1, got {number}')
    if eval_samples and not (int8 and dataset):
        raise ValueError('eval_samples needs int8 and dataset: they are for '
                         'the metrics before and after')
    if reduce_range and not int8:
        raise ValueError('reduce_range needs int8')
    check_out(out, format)
    made_with = environment(format, int8)
    cfg = load_config(config, cfg_options)
    model = build_model(cfg, checkpoint)
    metadata = describe(cfg, model, normalize, decode)
    if images:
        raw = image_samples(cfg, images, samples)
    elif dataset:
        raw = dataset_samples(cfg, samples)
    else:
        raw = rendered_samples(samples)
    dynamic = batch == 'dynamic'
    # Whole batches, or two sizes of a batch.
    raw += raw[:1] * (2 - len(raw) if dynamic else -len(raw) % batch)
    expected = reference(model, cfg, raw)
    found, told = expected.maps[0].shape[1], len(metadata['keypoint_names'])
    if found != told:
        raise ValueError(
            f'{cfg.filename} cannot be exported: its head returns {found} '
            f'maps or vectors, the data set of its test has {told} key points')
    inputs = expected.crops if normalize else expected.inputs
    network = ExportedNetwork(model, normalize, decode).eval()
    crops = 'images' if images else 'dataset' if dataset else 'rendered'
    if int8:
        # Only here, since they import this module.
        from . import agreement as accuracy
        from . import quantize
        calibrated = calibration_samples(cfg, images, dataset, calibration)
        calibrated += calibrated[:1] * (0 if dynamic else -len(calibrated) %
                                        batch)
        people, evaluators = calibrated, None
        if dataset:
            people, evaluators = accuracy.evaluation_people(cfg, eval_samples)
    with tempfile.TemporaryDirectory(
            dir=osp.dirname(out) or os.curdir, prefix='.export-') as folder:
        # The same graph with and without the maps as outputs.
        source, final = (
            osp.join(folder, name) for name in ('full.onnx', 'final.onnx'))
        example = torch.from_numpy(inputs[:2 if dynamic else batch])
        decoded, maps = to_onnx(network, example, source, dynamic)
        finish_onnx(source, final, decoded or maps, metadata)
        full = source
        if format == 'openvino':
            full, final = (
                file[:-len('.onnx')] + '.xml' for file in (source, final))
            for file in (full, final):
                save_openvino(
                    read_openvino(file[:-len('.xml')] + '.onnx'), file)
        outputs = run_session(open_session(full), inputs)
        found = [outputs[name] for name in maps]
        check = dict(
            crops=crops,
            number_of_crops=len(raw),
            maps=maps,
            **check_maps(expected.maps, found))
        if decode:
            keypoints = run_session(open_session(final), inputs)['keypoints']
            check.update(
                check_keypoints(model.head.decoder, expected.maps, found,
                                keypoints))
        report = dict(
            file=osp.basename(out),
            format=format,
            batch=batch,
            checkpoint=checkpoint and osp.basename(checkpoint),
            metadata=metadata,
            check=check,
            environment=made_with)
        if int8:
            report['int8'] = dict(
                bytes_float32=sum(map(osp.getsize, _files(final))),
                calibration=dict(crops=crops, number_of_crops=len(calibrated)),
                reduce_range=reduce_range)
            if crops == 'rendered':
                report['int8']['warning'] = RENDERED_WARNING
            quantized, final = (
                osp.join(folder, name + SUFFIXES[format])
                for name in ('full-int8', 'final-int8'))
            to_int8, finish = (quantize.quantize_onnx, finish_onnx)
            if format == 'openvino':
                to_int8, finish = quantize.quantize_openvino, finish_openvino
            report['int8']['float_nodes'] = to_int8(
                source,
                quantized,
                graph_inputs(model, pipeline_batch(cfg, calibrated),
                             normalize),
                reduce_range=reduce_range)
            metadata['precision'] = 'int8'
            finish(quantized, final, decoded or maps, metadata)
            quantize.check_runs(final, inputs[:len(example)])
            report['int8'].update(
                accuracy.compare(
                    model, cfg, people,
                    [open_session(file)
                     for file in (full, quantized)], normalize, evaluators))
            accuracy.check_agreement(report['int8']['agreement'])
        report['bytes'] = sum(map(osp.getsize, _files(final)))
        report_file = osp.join(folder, 'report.json')
        with open(report_file, 'w') as file:
            json.dump(report, file, indent=2)
        for file in _files(final):
            os.replace(file, osp.splitext(out)[0] + osp.splitext(file)[1])
        os.replace(report_file, out + '.report.json')
    return report


def _files(file: str) -> List[str]:
    """The file, or OpenVINO's pair, of which .xml comes last."""
    return [file] if file.endswith('.onnx') else [file[:-4] + '.bin', file]
