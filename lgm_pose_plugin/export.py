"""Export top-down networks to ONNX and OpenVINO, and check what was written.

The graph takes crops of people and returns their key points; everything else
a user of the file needs is in its metadata, see docs/export.md.
"""
import inspect
import json
import os
import os.path as osp
import platform
import tempfile
import time
import warnings
from importlib import import_module
from typing import (Any, Dict, List, NamedTuple, Optional, Sequence, Tuple,
                    Union)

import mmengine
import numpy as np
import onnx
import torch
from mmengine.config import Config
from onnx import numpy_helper
from torch import Tensor, nn

import mmpose
from mmpose.apis.inference import dataset_meta_from_config
from .doctor import cpu_model
from .erf import dataset_samples, image_samples, open_dataset, pipeline_batch
from .exported_file import FORMAT_VERSION
from .heads.keypoint_decoder import KeypointDecoder
from .heads.simcc_decoder import SimCCDecoder
from .networks import build_model, last_maps, load_config
from .outputs import check_out_file
from .rendered_people import render_image
from .runtime import (BACKENDS, BIN_KEY, MAX_BATCH, METADATA_KEY, Session,
                      file_hash, open_session, openvino_core)
from .version import __version__

SUFFIXES = dict(onnx='.onnx', openvino='.xml')
MAP_NAMES = ('heatmaps', 'simcc_x', 'simcc_y')
OPSET = 17  # the first with LayerNormalization
MAPS_TOLERANCE = 1e-4  # of 1, or of the largest value if that is more
KEYPOINTS_TOLERANCE = 0.05  # pixels of the crop
RENDERED_WARNING = (
    'calibrated on rendered people, whose ranges are not those of pictures; '
    'use the data set or pictures')


class ExportError(ValueError):
    """The exported file does not compute what MMPose computes."""


class ExportedNetwork(nn.Module):
    """A top-down network as its exported graph computes it.

    Args:
        model (:obj:`TopdownPoseEstimator`): The network, in eval mode.
        normalize (bool): Whether ``forward`` takes crops as OpenCV reads them
            and does what the data preprocessor does.
        decode (bool): Whether it returns key points and scores.

    Raises:
        ValueError: If the codec cannot be written in tensor operations.
    """

    def __init__(self, model: nn.Module, normalize: bool, decode: bool):
        super().__init__()
        self.model = model
        self.normalize = normalize
        self.decoder = None
        if decode:
            codec = model.head.decoder
            is_simcc = type(codec).__name__ == 'SimCCLabel'
            self.decoder = (SimCCDecoder if is_simcc else KeypointDecoder)(
                codec)

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Run the network.

        Args:
            images (Tensor): BGR crops, uint8 of shape ``(N, H, W, 3)``, or
                without ``normalize`` float32 of shape ``(N, 3, H, W)``.

        Returns:
            tuple[Tensor]: With ``decode`` first the key points in pixels of
            the crop, of shape ``(N, K, 2)``, and scores ``(N, K)``; then what
            :func:`last_maps` returns.
        """
        if self.normalize:
            processor = self.model.data_preprocessor
            images = images.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
            if processor._channel_conversion:
                images = images[:, [2, 1, 0]]
            if processor._enable_normalize:
                images = (images - processor.mean) / processor.std
        maps = last_maps(self.model(images, None, mode='tensor'))
        return maps if self.decoder is None else (*self.decoder(*maps), *maps)


def describe(cfg: Config, model: nn.Module, normalize: bool,
             decode: bool) -> Dict[str, Any]:
    """Collect what a user of the file must know.

    Args:
        cfg (Config): A top-down config.
        model (nn.Module): Its network.
        normalize (bool): See :class:`ExportedNetwork`.
        decode (bool): As ``normalize``.

    Returns:
        dict: The metadata, see docs/export.md, of JSON's types.

    Raises:
        ValueError: If the config's codec, test pipeline or data set is not
            one of a top-down network.
    """
    transforms = {
        getattr(step['type'], '__name__', step['type']): step
        for step in cfg.get('test_dataloader', {}).get('dataset', {}).get(
            'pipeline', [])
    }
    codec = getattr(model.head, 'decoder', None)
    meta = dataset_meta_from_config(cfg, 'test')
    for what, found in (('no transform TopdownAffine in the pipeline of its '
                         'test data set', 'TopdownAffine' in transforms),
                        ('no codec with an input size as model.head.decoder',
                         hasattr(codec, 'input_size')),
                        ('no data set with key points', meta)):
        if not found:
            raise ValueError(f'{cfg.filename} cannot be exported: {what}')
    test_cfg = model.test_cfg or {}
    if test_cfg.get('output_keypoint_indices') is not None:
        raise ValueError(
            f'{cfg.filename} cannot be exported: it selects key points with '
            'model.test_cfg.output_keypoint_indices, which a file cannot')
    affine = transforms['TopdownAffine']
    processor = cfg.model.get('data_preprocessor', {})
    arguments = inspect.signature(type(codec).__init__).parameters
    metadata = dict(
        format_version=FORMAT_VERSION,
        plugin_version=__version__,
        config=osp.splitext(osp.basename(cfg.filename))[0],
        input_size=affine['input_size'],
        normalize=normalize,
        decode=decode,
        precision='float32',
        mean=processor.get('mean') or [0.] * 3,
        std=processor.get('std') or [1.] * 3,
        bgr_to_rgb=model.data_preprocessor._channel_conversion,
        padding=transforms.get('GetBBoxCenterScale', {}).get('padding', 1.25),
        use_udp=affine.get('use_udp', False),
        shift_heatmap=test_cfg.get('shift_heatmap', False),
        codec=dict(
            type=type(codec).__name__,
            **{
                name: getattr(codec, name)
                for name in arguments if hasattr(codec, name)
            }),
        keypoint_names=[
            meta['keypoint_id2name'][i] for i in range(meta['num_keypoints'])
        ],
        skeleton=meta['skeleton_links'],
        flip_indices=meta['flip_indices'],
        flip_pairs=sorted({
            tuple(sorted(pair))
            for pair in enumerate(meta['flip_indices']) if pair[0] != pair[1]
        }),
        sigmas=meta['sigmas'])
    return json.loads(json.dumps(metadata, default=lambda x: x.tolist()))


def to_onnx(network: ExportedNetwork, example: Tensor, file: str,
            dynamic: bool) -> Tuple[List[str], List[str]]:
    """Write a network to an ONNX file, with BatchNorm folded.

    Args:
        network (ExportedNetwork): The network.
        example (Tensor): An input.
        file (str): The file to write.
        dynamic (bool): Whether the batch size is left open.

    Returns:
        tuple[list[str], list[str]]: Names of the file's outputs: those of the
        decoded key points, and those of the maps, which come last.

    Raises:
        ValueError: If torch cannot export the network.
    """
    with torch.no_grad():
        outputs = network(example)
    maps = list(MAP_NAMES[:1] if outputs[-1].dim() == 4 else MAP_NAMES[1:])
    decoded = [] if network.decoder is None else ['keypoints', 'scores']
    names = decoded + maps
    axes = {name: {0: 'batch'} for name in ['images'] + names}
    # The other exporter of torch >= 2.5 needs one more package.
    parameters = inspect.signature(torch.onnx.export).parameters
    options = dict(dynamo=False) if 'dynamo' in parameters else {}
    with warnings.catch_warnings():
        # Of the tracer, for constants in networks; of the exporter's age.
        warnings.simplefilter('ignore')
        try:
            torch.onnx.export(
                network, (example, ),
                file,
                input_names=['images'],
                output_names=names,
                dynamic_axes=axes if dynamic else None,
                opset_version=OPSET,
                **options)
        except RuntimeError as error:
            hint = '; a fixed --batch may help' if dynamic else ''
            raise ValueError('torch cannot export this network to ONNX' +
                             hint + ': ' + str(error)[:300]) from error
    exported = onnx.load(file)
    fold_batch_norms(exported.graph)
    # The exporter leaves sizes open that are computed in the graph.
    for value, output in zip(exported.graph.output, outputs):
        sizes = ['batch' if dynamic else len(example), *output.shape[1:]]
        value.CopyFrom(
            onnx.helper.make_tensor_value_info(value.name,
                                               onnx.TensorProto.FLOAT, sizes))
    onnx.save(exported, file)
    return decoded, maps


def fold_batch_norms(graph: onnx.GraphProto) -> int:
    """Fold each BatchNormalization into the convolution that feeds only it.

    Those that follow something else, as LAPX's before a convolution, stay.
    The exporter writes equal weights, as of a network that was not trained,
    once and repeats them by Identity nodes; these are taken out, too.

    Args:
        graph (onnx.GraphProto): The graph, changed in place.

    Returns:
        int: The number of folded nodes.
    """
    weights = {one.name: one for one in graph.initializer}
    repeated = {}
    for node in list(graph.node):
        if node.op_type == 'Identity' and node.input[0] in weights:
            repeated[node.output[0]] = node.input[0]
            graph.node.remove(node)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = repeated.get(name, name)
    makers = {name: node for node in graph.node for name in node.output}
    uses: Dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    kept_outputs = {output.name for output in graph.output}
    folded = 0
    for norm in list(graph.node):
        conv = makers.get(norm.input[0]) if norm.input else None
        if (norm.op_type != 'BatchNormalization' or conv is None
                or conv.op_type not in ('Conv', 'ConvTranspose')
                or uses[norm.input[0]] > 1 or norm.input[0] in kept_outputs
                or any(name not in weights
                       for name in [*conv.input[1:], *norm.input[1:]])):
            continue
        gamma, beta, mean, var = (
            numpy_helper.to_array(weights[name]).astype(np.float64)
            for name in norm.input[1:])
        attributes = {a.name: a for a in norm.attribute}
        epsilon = attributes['epsilon'].f if 'epsilon' in attributes else 1e-5
        factor = gamma / np.sqrt(var + epsilon)
        weight = numpy_helper.to_array(weights[conv.input[1]])
        if conv.op_type == 'Conv':  # (C_out, C_in / groups, h, w)
            scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        else:  # (C_in, C_out / groups, h, w)
            groups, = [a.i for a in conv.attribute if a.name == 'group'] or [1]
            grouped = weight.reshape(groups, -1, *weight.shape[1:])
            shape = [groups, 1, weight.shape[1]] + [1] * (weight.ndim - 2)
            scaled = (grouped * factor.reshape(shape)).reshape(weight.shape)
        bias = 0.
        if len(conv.input) > 2:
            bias = numpy_helper.to_array(weights[conv.input[2]])
        bias = (bias - mean) * factor + beta
        # New names: a weight may be shared.
        inputs = [conv.input[0]]
        for suffix, array in (('weight', scaled), ('bias', bias)):
            inputs.append(f'{norm.output[0]}_folded_{suffix}')
            graph.initializer.append(
                numpy_helper.from_array(array.astype(np.float32), inputs[-1]))
        del conv.input[:]
        conv.input.extend(inputs)
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
        folded += 1
    used = {name for node in graph.node for name in node.input}
    for name, one in weights.items():
        if name not in used:
            graph.initializer.remove(one)
    return folded


def finish_onnx(source: str, target: str, outputs: Sequence[str],
                metadata: Dict[str, Any]) -> None:
    """Write an ONNX file with fewer outputs and with metadata.

    Args:
        source (str): The file with all outputs.
        target (str): The file to write.
        outputs (Sequence[str]): Names of the outputs to keep.
        metadata (dict): The metadata.
    """
    model = onnx.load(source)
    for output in list(model.graph.output):
        if output.name not in outputs:
            model.graph.output.remove(output)
    model.producer_name = METADATA_KEY
    model.producer_version = __version__
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def read_openvino(source: str) -> Any:
    """Read a finished ONNX file with OpenVINO, metadata included.

    Args:
        source (str): The ONNX file.

    Returns:
        openvino.Model: The network.
    """
    # Not convert_model: once saved, LGM-Pose converted by OpenVINO 2026.4.1
    # computed heat maps that were wrong by a tenth of their maximum.
    model = openvino_core().read_model(source)
    props = {p.key: p.value for p in onnx.load(source).metadata_props}
    if METADATA_KEY in props:
        model.set_rt_info(props[METADATA_KEY], [METADATA_KEY])
    return model


def save_openvino(model: Any, target: str) -> None:
    """Write OpenVINO's pair of .xml and .bin, the one knowing the other.

    Args:
        model (openvino.Model): The network, which gets the hash, too.
        target (str): The .xml file to write; the .bin goes beside it.
    """
    import openvino

    # The .bin does not depend on rt_info, so the second one is the same.
    openvino.save_model(model, target, compress_to_fp16=False)
    model.set_rt_info(file_hash(target[:-4] + '.bin'), [BIN_KEY])
    openvino.save_model(model, target, compress_to_fp16=False)


def finish_openvino(source: str, target: str, outputs: Sequence[str],
                    metadata: Dict[str, Any]) -> None:
    """Do what :func:`finish_onnx` does with a file of OpenVINO's.

    Args:
        source (str): The .xml file with all outputs.
        target (str): The .xml file to write; the .bin goes beside it.
        outputs (Sequence[str]): Names of the outputs to keep.
        metadata (dict): The metadata.
    """
    model = openvino_core().read_model(source)
    for result in list(model.get_results()):
        if result.input_value(0).get_names().isdisjoint(outputs):
            model.remove_result(result)
    model.set_rt_info(json.dumps(metadata), [METADATA_KEY])
    save_openvino(model, target)


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


def graph_inputs(model: nn.Module, batch: dict, normalize: bool) -> np.ndarray:
    """Make what a graph takes out of crops.

    Args:
        model (nn.Module): The network, with its data preprocessor.
        batch (dict): N crops, see :func:`~lgm_pose_plugin.erf.pipeline_batch`.
        normalize (bool): See :class:`ExportedNetwork`.

    Returns:
        np.ndarray: The crops, uint8 of shape ``(N, H, W, 3)``, or without
        ``normalize`` float32 of shape ``(N, 3, H, W)``.
    """
    if not normalize:
        return model.data_preprocessor(batch, False)['inputs'].numpy()
    crops = torch.stack(batch['inputs']).permute(0, 2, 3, 1)
    return np.ascontiguousarray(crops.numpy())


class Reference(NamedTuple):
    """What MMPose makes of crops.

    Attributes:
        crops (np.ndarray): BGR crops, uint8 of shape ``(N, H, W, 3)``.
        inputs (np.ndarray): The network's inputs, float32 of shape
            ``(N, 3, H, W)``.
        maps (list[np.ndarray]): What :func:`last_maps` returns.
    """
    crops: np.ndarray
    inputs: np.ndarray
    maps: List[np.ndarray]


def reference(model: nn.Module, cfg: Config, raw: List[dict]) -> Reference:
    """Run MMPose's pipeline, preprocessor and network.

    Args:
        model (nn.Module): The network.
        cfg (Config): Its config.
        raw (list[dict]): The N samples the test pipeline starts from.

    Returns:
        Reference: The results.
    """
    batch = pipeline_batch(cfg, raw)
    crops, inputs = (graph_inputs(model, batch, i) for i in (True, False))
    with torch.no_grad():
        maps = last_maps(model(torch.from_numpy(inputs), None, mode='tensor'))
    return Reference(crops, inputs, [m.numpy() for m in maps])


def decode_maps(codec: Any,
                maps: Sequence[np.ndarray]) -> Tuple[np.ndarray, np.ndarray]:
    """Decode with MMPose's codec.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec.
        maps (Sequence[np.ndarray]): Heat maps of shape ``(N, K, H, W)``, or
            SimCC's two vectors.

    Returns:
        tuple[np.ndarray, np.ndarray]: Key points in crop pixels, of shape
        ``(N, K, 2)``, and scores of shape ``(N, K)``.
    """
    if len(maps) == 2:
        # Some change them; some have visibilities beside the scores.
        keypoints, scores = codec.decode(*(one.copy() for one in maps))
        return keypoints, scores[0] if isinstance(scores, tuple) else scores
    keypoints, scores = zip(*(codec.decode(one) for one in maps[0]))
    return np.concatenate(keypoints), np.concatenate(scores)


def check_maps(expected: Sequence[np.ndarray],
               found: Sequence[np.ndarray]) -> Dict[str, float]:
    """Check a file's heat maps or vectors against MMPose's.

    Args:
        expected (Sequence[np.ndarray]): MMPose's.
        found (Sequence[np.ndarray]): The file's.

    Returns:
        dict[str, float]: The largest difference and the tolerance,
        ``MAPS_TOLERANCE`` of 1 or of the largest value if that is more.

    Raises:
        ExportError: If the difference is above the tolerance.
    """
    difference = max(
        float(np.abs(a - b).max()) for a, b in zip(expected, found))
    largest = max(float(np.abs(maps).max()) for maps in expected)
    tolerance = MAPS_TOLERANCE * max(1, largest)
    if not difference <= tolerance:
        raise ExportError(
            f"the file's maps differ by {difference:.2g} from MMPose's, whose "
            f'largest value is {largest:.2g}')
    return dict(maps_max_difference=difference, maps_tolerance=tolerance)


def check_keypoints(codec: Any, expected: Sequence[np.ndarray],
                    found: Sequence[np.ndarray],
                    keypoints: np.ndarray) -> Dict[str, Any]:
    """Check a file's key points against what MMPose decodes from its maps.

    Where two places of a map are equally high, or a quarter pixel may go
    either way, rounding decides; such key points are tied and not compared.
    They are found by decoding, with the codec, MMPose's maps, the file's, and
    MMPose's with a millionth of their maximum added as noise: a key point is
    tied if these differ by more than half the tolerance. Neither is it
    compared where no value is above zero, since then MMPose's UDP refines -1.

    Args:
        codec (:obj:`BaseKeypointCodec`): The codec.
        expected (Sequence[np.ndarray]): MMPose's maps.
        found (Sequence[np.ndarray]): The file's.
        keypoints (np.ndarray): The file's key points, ``(N, K, 2)``.

    Returns:
        dict: The numbers of compared and of all other key points, and the
        largest difference in pixels of the crop.

    Raises:
        ExportError: If the difference is above ``KEYPOINTS_TOLERANCE``, or
            all key points are tied.
    """
    rng = np.random.default_rng(0)
    noisy = [
        maps + np.float32(1e-6) * np.abs(maps).max() *
        rng.uniform(-1, 1, maps.shape).astype(np.float32) for maps in expected
    ]
    wanted, scores = decode_maps(codec, expected)
    decoded = np.stack(
        [wanted, *(decode_maps(codec, maps)[0] for maps in (found, noisy))])
    tied = np.ptp(decoded, axis=0).max(2) > KEYPOINTS_TOLERANCE / 2
    tied |= scores <= 0
    if tied.all():
        raise ExportError(
            'no key point could be compared: rounding decides where each one '
            'is, as in a network that was not trained')
    difference = float(np.abs(keypoints - wanted)[~tied].max())
    if not difference <= KEYPOINTS_TOLERANCE:
        raise ExportError(
            f"the file's key points differ by {difference:.3g} px from "
            f"MMPose's, more than {KEYPOINTS_TOLERANCE:g} px")
    return dict(
        compared_keypoints=int((~tied).sum()),
        other_keypoints=int(tied.sum()),
        keypoints_max_difference_px=difference,
        keypoints_tolerance_px=KEYPOINTS_TOLERANCE)


def run_session(session: Session, inputs: np.ndarray) -> Dict[str, np.ndarray]:
    """Run inputs in batches of a session's size, or as one and all others.

    Args:
        session (Session): The session. A fixed batch is filled up with the
            first inputs.
        inputs (np.ndarray): Inputs of shape ``(N, ...)``.

    Returns:
        dict[str, np.ndarray]: The outputs by name, N of each.
    """
    if session.batch is None:
        parts = [inputs[:1], inputs[1:]] if len(inputs) > 1 else [inputs]
    else:
        count = -(-len(inputs) // session.batch)
        whole = np.resize(inputs, (count * session.batch, *inputs.shape[1:]))
        parts = np.split(whole, count)
    outputs = [session.run(part) for part in parts]
    return {
        name: np.concatenate([output[name]
                              for output in outputs])[:len(inputs)]
        for name in outputs[0]
    }


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
        config (str): See :func:`~lgm_pose_plugin.networks.load_config`.
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
            quantize.py, and to measure what it costs, see accuracy.py.
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
        from . import accuracy, quantize
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
