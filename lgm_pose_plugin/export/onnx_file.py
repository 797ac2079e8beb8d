"""Write networks to ONNX files."""
import collections
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
    options: Dict[str, Any] = (
        dict(dynamo=False) if 'dynamo' in parameters else {})
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


def fold_batch_norms(graph: onnx.GraphProto) -> None:
    """Fold each BatchNormalization into the ConvTranspose that feeds only it.

    torch's exporter does so for Conv alone. It writes equal weights, as of a
    network that was not trained, once and repeats them by Identity nodes;
    these are taken out, too.

    Args:
        graph (onnx.GraphProto): The graph, changed in place.
    """
    weights = {one.name: one for one in graph.initializer}
    repeated = {}
    for node in list(graph.node):
        if node.op_type == 'Identity' and node.input[0] in weights:
            repeated[node.output[0]] = node.input[0]
            graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [repeated.get(name, name) for name in node.input]
    makers = {name: node for node in graph.node for name in node.output}
    uses = collections.Counter(
        [name for node in graph.node
         for name in node.input] + [output.name for output in graph.output])
    for norm in list(graph.node):
        conv = makers.get(norm.input[0]) if norm.input else None
        if (norm.op_type != 'BatchNormalization' or conv is None
                or conv.op_type != 'ConvTranspose' or uses[norm.input[0]] > 1
                or not weights.keys() >= {*conv.input[1:], *norm.input[1:]}):
            continue
        weight, *biases = (
            numpy_helper.to_array(weights[name]) for name in conv.input[1:])
        gamma, beta, mean, var = (
            numpy_helper.to_array(weights[name]).astype(np.float64)
            for name in norm.input[1:])
        epsilon, = [a.f
                    for a in norm.attribute if a.name == 'epsilon'] or [1e-5]
        groups, = [a.i for a in conv.attribute if a.name == 'group'] or [1]
        factor = gamma / np.sqrt(var + epsilon)
        # (C_in, C_out / groups, h, w)
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        scaled = grouped * factor.reshape(groups, 1, weight.shape[1], 1, 1)
        folded = dict(
            weight=scaled.reshape(weight.shape),
            bias=(sum(biases) - mean) * factor + beta)
        del conv.input[1:]
        for name, array in folded.items():
            # New names: a weight may be shared.
            conv.input.append(f'{norm.output[0]}_folded_{name}')
            graph.initializer.append(
                numpy_helper.from_array(
                    array.astype(np.float32), conv.input[-1]))
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    used = {name for node in graph.node for name in node.input}
    for name, one in weights.items():
        if name not in used:
            graph.initializer.remove(one)


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
