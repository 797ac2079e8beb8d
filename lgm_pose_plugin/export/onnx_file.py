"""Write networks to ONNX files."""
import copy
import inspect
import json
import warnings
from typing import Any, Dict, List, Sequence, Tuple

import onnx
import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lgm_pose_plugin.models.backbones.lapx import Stage
from lgm_pose_plugin.runtime.session import METADATA_KEY
from lgm_pose_plugin.utils.errors import explain_errors
from lgm_pose_plugin.version import __version__
from .graph import MAP_NAMES, ExportedNetwork

OPSET = 17  # the first with LayerNormalization


def output_names(network: ExportedNetwork,
                 example: Tensor) -> Tuple[List[str], List[str]]:
    """Name the outputs of a network.

    Args:
        network (ExportedNetwork): The network.
        example (Tensor): An input.

    Returns:
        tuple[list[str], list[str]]: Those of the decoded key points, and
        those of the maps, which come last.
    """
    with torch.no_grad():
        dims = network(example)[-1].dim()
    maps = list(MAP_NAMES[:1] if dims == 4 else MAP_NAMES[1:])
    return [] if network.decoder is None else ['keypoints', 'scores'], maps


def to_onnx(network: ExportedNetwork,
            example: Tensor,
            file: str,
            dynamic: bool,
            float16: bool = False) -> Tuple[List[str], List[str]]:
    """Write a network to an ONNX file for ONNX Runtime.

    Args:
        network (ExportedNetwork): The network.
        example (Tensor): An input.
        file (str): The file to write.
        dynamic (bool): Whether the batch size is left open.
        float16 (bool): Whether the file computes the maps in float16.
            Defaults to ``False``.

    Returns:
        tuple[list[str], list[str]]: Names of the file's outputs, see
        :func:`output_names`.

    Raises:
        ValueError: If torch cannot export the network.
    """
    decoded, maps = output_names(network, example)
    write_onnx(network, example, file, decoded + maps, dynamic)
    split_elus(file, file)
    if float16:
        halve_onnx(file, maps)
    return decoded, maps


def halve_onnx(file: str, maps: Sequence[str]) -> None:
    """Turn an ONNX file to float16, but for inputs, outputs and decoding.

    Args:
        file (str): The file, which is written anew.
        maps (Sequence[str]): Names of the maps.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel
    model = onnx.load(file)
    # Half precision has too few digits for coordinates and logarithms.
    behind, decoding = set(maps), []
    for node in model.graph.node:  # sorted: a node follows what it depends on
        if behind.intersection(node.input):
            behind.update(node.output)
            decoding.append(node.name)
    with warnings.catch_warnings():
        # Of weights that are rounded to zero.
        warnings.simplefilter('ignore')
        halved = convert_float_to_float16(
            model, keep_io_types=True, node_block_list=decoding)
    # Casts of maps that the decoding takes, too, are put at the end.
    OnnxModel(halved).topological_sort()
    onnx.save(halved, file)


def write_onnx(network: nn.Module, example: Tensor, file: str,
               names: Sequence[str], dynamic: bool) -> None:
    """Write a network of any outputs to an ONNX file, see :func:`to_onnx`.

    Args:
        network (nn.Module): The network, in eval mode.
        example (Tensor): An input.
        file (str): The file to write.
        names (Sequence[str]): Names of the outputs.
        dynamic (bool): Whether the batch size is left open.

    Raises:
        ValueError: If torch cannot export the network.
    """
    network = copy.deepcopy(network)
    fold_batch_norms(network)
    for module in network.modules():
        if isinstance(module, Stage):
            module.fold_scores()
    with torch.no_grad():
        outputs = network(example)
    axes = {name: {0: 'batch'} for name in ['images', *names]}
    # The other exporter of torch >= 2.5 needs one more package.
    parameters = inspect.signature(torch.onnx.export).parameters
    options: Dict[str, Any] = (
        dict(dynamo=False) if 'dynamo' in parameters else {})
    hint = ' (a fixed --batch may help)' if dynamic else ''
    with warnings.catch_warnings(), explain_errors(
            f'torch cannot export this network to ONNX{hint}'):
        # Of the tracer, for constants in networks; of the exporter's age.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network, (example, ),
            file,
            input_names=['images'],
            output_names=list(names),
            dynamic_axes=axes if dynamic else None,
            opset_version=OPSET,
            **options)
    exported = onnx.load(file)
    unite_weights(exported.graph)
    # The exporter leaves sizes open that are computed in the graph.
    for value, output in zip(exported.graph.output, outputs):
        sizes = ['batch' if dynamic else len(example), *output.shape[1:]]
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(
            onnx.helper.make_tensor_value_info(value.name, kind, sizes))
    onnx.save(exported, file)


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each BatchNorm into the transposed convolution right before it.

    torch's exporter does so for other convolutions.

    Args:
        network (nn.Module): The network, in eval mode, changed in place.
    """
    for module in list(network.modules()):
        if not isinstance(module, (nn.Sequential, ConvModule)):
            continue
        layers = list(module.named_children())
        for (name, conv), (norm_name, norm) in zip(layers, layers[1:]):
            if (isinstance(conv, nn.ConvTranspose2d) and conv.groups == 1
                    and isinstance(norm, nn.BatchNorm2d)):
                folded = fuse_conv_bn_eval(
                    conv.double(), norm.double(), transpose=True)
                setattr(module, name, folded.float())
                setattr(module, norm_name, nn.Identity())


def split_elus(source: str, target: str) -> None:
    """Write a file with each ELU as ``max(x, exp(min(x, 0)) - 1)``.

    For ONNX Runtime. On CPUs it takes longer for its ELU than for the four.

    Args:
        source (str): An ONNX file.
        target (str): The file to write, which may be the same.
    """
    model = onnx.load(source)
    nodes = []
    for node in model.graph.node:
        alpha = {one.name: one.f for one in node.attribute}.get('alpha', 1)
        if node.op_type != 'Elu' or alpha != 1:
            nodes.append(node)
            continue
        (x, ), (y, ) = node.input, node.output
        steps = [('Min', [x, 'elu_zero'], y + '_min'),
                 ('Exp', [y + '_min'], y + '_exp'),
                 ('Sub', [y + '_exp', 'elu_one'], y + '_sub'),
                 ('Max', [x, y + '_sub'], y)]
        nodes += [
            onnx.helper.make_node(
                kind, inputs, [output], name=f'{node.name}/{kind}')
            for kind, inputs, output in steps
        ]
    if len(nodes) > len(model.graph.node):
        for name, value in (('elu_zero', 0), ('elu_one', 1)):
            model.graph.initializer.append(
                onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, (),
                                        [value]))
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    onnx.save(model, target)


def unite_weights(graph: onnx.GraphProto) -> None:
    """Take out the Identity nodes by which torch's exporter repeats weights.

    It writes equal weights, as of a network that was not trained, once.

    Args:
        graph (onnx.GraphProto): The graph, changed in place.
    """
    weights = {one.name for one in graph.initializer}
    repeated = {}
    for node in list(graph.node):
        if node.op_type == 'Identity' and node.input[0] in weights:
            repeated[node.output[0]] = node.input[0]
            graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [repeated.get(name, name) for name in node.input]


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
