"""Write networks to ONNX files."""
import inspect
import json
import warnings
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from lgm_pose_plugin.runtime.session import METADATA_KEY
from lgm_pose_plugin.version import __version__
from .graph import MAP_NAMES, ExportedNetwork

OPSET = 17  # the first with LayerNormalization


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
