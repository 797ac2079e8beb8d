"""Quantise exported networks to int8, calibrated on crops.

ONNX Runtime's quantisation writes ONNX files (QuantizeLinear and
DequantizeLinear around each quantised operator), NNCF OpenVINO's.
"""
import os.path as osp
import tempfile
from typing import Iterator, List, Sequence, Set

import numpy as np
import onnx

# Names export.py gives to what a codec decodes.
MAP_NAMES = ('heatmaps', 'simcc_x', 'simcc_y')
_CONVOLUTIONS = ('Conv', 'ConvTranspose')
_WEIGHTED = _CONVOLUTIONS + ('Gemm', 'MatMul')


def float_node_names(graph: onnx.GraphProto) -> List[str]:
    """Find the nodes that stay in float, by their place and type.

    - what comes before the first convolutions, and these;
    - the last convolution or matrix product before each of the maps, and what
      comes after it, such as the decoding of the maps;
    - all other matrix products, and gathers: OpenVINO 2026.4.1 crashes on the
      channel shuffle of LGM-Pose's neck between quantised operators.

    Args:
        graph (onnx.GraphProto): A graph with the names of export.py.

    Returns:
        list[str]: Names of the nodes.

    Raises:
        ValueError: If the graph has none of the maps.
    """
    makers = {name: node for node in graph.node for name in node.output}
    ends = [makers[name] for name in MAP_NAMES if name in makers]
    if not ends:
        raise ValueError('the graph computes none of '
                         f'{", ".join(MAP_NAMES)}; it is not of this package')
    kept: Set[str] = set()
    # Nodes are in topological order.
    behind_convolution: Set[str] = set()
    behind_maps: Set[str] = set()
    for node in graph.node:
        if behind_convolution.isdisjoint(node.input):
            kept.add(node.name)
        if node.op_type == 'Conv' or not behind_convolution.isdisjoint(
                node.input):
            behind_convolution.update(node.output)
        if not behind_maps.isdisjoint(node.input):
            kept.add(node.name)
            behind_maps.update(node.output)
        behind_maps.update(set(node.output).intersection(MAP_NAMES))
        if node.op_type in ('Gather', 'Gemm', 'MatMul'):
            kept.add(node.name)
    while ends:
        node = ends.pop()
        kept.add(node.name)
        if node.op_type not in _WEIGHTED:
            ends += [makers[name] for name in node.input if name in makers]
    return [node.name for node in graph.node if node.name in kept]


def _batches(inputs: np.ndarray, graph: onnx.GraphProto) -> List[np.ndarray]:
    """Cut inputs (N, ...) into batches of the graph's size, else of one."""
    size = graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    if len(inputs) < size:
        raise ValueError(f'{len(inputs)} crops do not fill the batch of '
                         f'{size} the file takes')
    return [
        inputs[i:i + size] for i in range(0,
                                          len(inputs) - size + 1, size)
    ]


def quantize_onnx(source: str,
                  target: str,
                  inputs: np.ndarray,
                  float_nodes: Sequence[str] = ()) -> None:
    """Quantise an ONNX file with ONNX Runtime.

    Args:
        source (str): An ONNX file of export.py.
        target (str): The ONNX file to write, with the source's metadata.
        inputs (np.ndarray): The N inputs to calibrate on, as the graph takes
            them: uint8 ``(N, H, W, 3)`` or float32 ``(N, 3, H, W)``.
        float_nodes (Sequence[str]): Names of nodes that stay in float beside
            those of :func:`float_node_names`.

    Raises:
        ValueError: If the file is not of export.py or there are fewer inputs
            than its batch size.
    """
    from onnxruntime.quantization import (CalibrationDataReader, QuantFormat,
                                          QuantType, quant_pre_process,
                                          quantize_static)

    class Reader(CalibrationDataReader):

        def __init__(self, name: str, batches: List[np.ndarray]):
            self.feeds: Iterator = iter([{name: one} for one in batches])

        def get_next(self):
            return next(self.feeds, None)

    graph = onnx.load(source).graph
    reader = Reader(graph.input[0].name, _batches(inputs, graph))
    with tempfile.TemporaryDirectory(dir=osp.dirname(target) or '.') as folder:
        prepared = osp.join(folder, 'prepared.onnx')
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        kept = float_node_names(onnx.load(prepared).graph)
        quantize_static(
            prepared,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=['Conv', 'Add', 'Mul', 'Concat', 'MaxPool'],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*kept, *float_nodes])
    model = onnx.load(target)
    onnx.helper.set_model_props(
        model,
        {p.key: p.value
         for p in onnx.load(source).metadata_props})
    onnx.save(model, target)


def quantize_openvino(source_onnx: str,
                      target_xml: str,
                      inputs: np.ndarray,
                      float_nodes: Sequence[str] = ()) -> None:
    """Quantise an ONNX file with NNCF and write it in OpenVINO's format.

    Args:
        source_onnx (str): An ONNX file of export.py.
        target_xml (str): The .xml file to write, with the source's metadata;
            the .bin goes beside it.
        inputs (np.ndarray): As in :func:`quantize_onnx`.
        float_nodes (Sequence[str]): As in :func:`quantize_onnx`.

    Raises:
        ValueError: As :func:`quantize_onnx`.
    """
    import nncf
    import openvino

    from .export import read_openvino
    graph = onnx.load(source_onnx).graph
    batches = _batches(inputs, graph)
    model = read_openvino(source_onnx)
    names = {op.get_friendly_name() for op in model.get_ops()}
    kept = [
        name for name in [*float_node_names(graph), *float_nodes]
        if name in names
    ]
    quantized = nncf.quantize(
        model,
        nncf.Dataset(batches),
        subset_size=len(batches),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False))
    openvino.save_model(quantized, target_xml, compress_to_fp16=False)
