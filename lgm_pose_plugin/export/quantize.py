"""Quantise exported networks to int8, calibrated on crops.

ONNX files by ONNX Runtime's quantisation, which puts QuantizeLinear and
DequantizeLinear around operators; OpenVINO's by NNCF.
"""
import io
import logging
import os.path as osp
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from typing import Any, Dict, List, Optional, Sequence, Set

import numpy as np
import onnx

from lgm_pose_plugin.utils.subprocesses import function_command
from .graph import MAP_NAMES, split_batches
from .openvino_file import read_openvino

_CONVOLUTIONS = ('Conv', 'ConvTranspose')
_PRODUCTS = ('Gemm', 'MatMul')
# Never quantised: matrix products, norms (ReduceL2 is ScaleNorm's), softmax;
# and Gather, because OpenVINO 2026.4.1 crashes on a channel shuffle (that of
# LGM-Pose's neck) between operators in int8.
FLOAT_OPERATORS = ('Gather', 'InstanceNormalization', 'LayerNormalization',
                   'ReduceL2', 'Softmax', *_PRODUCTS)
# Of the activations of the calibration, percent that are not clipped, half of
# the others at either end. With all of them LGM-Pose's body17 weights lose 7
# points of AP, see docs/export.md. onnxruntime before 1.20 takes 99.999.
PERCENTILE = 99.98
# Crops whose activations are in memory at once.
CROPS_AT_ONCE = 10
# What ONNX Runtime has in int8; Sigmoid and Mul are SiLU and gates. Of
# ConvTranspose only the weights are stored so, the product is one of floats.
ONNX_OPERATORS = ('Add', 'Concat', 'MaxPool', 'Mul', 'Sigmoid', *_CONVOLUTIONS)


def float_node_names(graph: onnx.GraphProto) -> List[str]:
    """Find the nodes that stay in float, by their type and place.

    - the first convolutions;
    - the last convolution or matrix product before each of the maps that are
      decoded, and all of the decoding;
    - convolutions of groups of several channels, as those of LGM-Pose's neck:
      both runtimes are slower with them in int8, ONNX Runtime ten times;
    - all types of ``FLOAT_OPERATORS``, of LARM, attention and SimCC heads;
    - whatever else has an input in float: what is before the first
      convolutions, GELU between matrix products, an addition to one.

    So all other convolutions are quantised, and what lies between them.

    Args:
        graph (onnx.GraphProto): A graph of ``lgm-pose export``.

    Returns:
        list[str]: Their names, in the graph's order; nodes that compute only
        shapes and constants are not among them.

    Raises:
        ValueError: If the graph computes none of ``MAP_NAMES``.
    """
    makers = {name: node for node in graph.node for name in node.output}
    ends = [makers[name] for name in MAP_NAMES if name in makers]
    if not ends:
        raise ValueError('only networks of `lgm-pose export` can be quantised:'
                         f' this one computes none of {", ".join(MAP_NAMES)}')
    last = set()
    while ends:
        node = ends.pop()
        last.add(node.name)
        if node.op_type not in _CONVOLUTIONS + _PRODUCTS:
            ends += [makers[name] for name in node.input if name in makers]
    shapes = {one.name: one.dims for one in graph.initializer}
    kept = []
    # Tensors: in float; behind a convolution; behind the maps.
    floats = {value.name for value in graph.input}
    convolved: Set[str] = set()
    decoded = set(MAP_NAMES)
    data = set(floats)  # all tensors but shapes and constants
    for node in graph.node:  # sorted: a node follows what it depends on
        inputs = data.intersection(node.input)
        if not inputs or node.op_type == 'Shape':
            continue
        data.update(node.output)
        stays = bool(node.name in last or node.op_type in FLOAT_OPERATORS
                     or inputs & decoded)
        if node.op_type in _CONVOLUTIONS:
            groups = [a.i for a in node.attribute if a.name == 'group'] or [1]
            per_group = [*shapes.get(node.input[1], ())][1:2]
            stays |= not inputs & convolved or (groups > [1]
                                                and per_group > [1])
            convolved.update(node.output)
        else:
            stays |= bool(inputs & floats)
        for known in (convolved, decoded):
            if inputs & known:
                known.update(node.output)
        if stays:
            kept.append(node.name)
            floats.update(node.output)
    return kept


def quantize_onnx(source: str,
                  target: str,
                  inputs: np.ndarray,
                  reduce_range: bool = False) -> List[str]:
    """Quantise an ONNX file with ONNX Runtime.

    Args:
        source (str): An ONNX file of ``lgm-pose export``.
        target (str): The ONNX file to write.
        inputs (np.ndarray): The N inputs to calibrate on, as the graph takes
            them: uint8 of shape ``(N, H, W, 3)`` or float32 of shape
            ``(N, 3, H, W)``.
        reduce_range (bool): Whether weights have 7 bits instead of 8, for x86
            CPUs without VNNI, whose sums overflow. Defaults to ``False``.

    Returns:
        list[str]: The nodes that stay in float, see
        :func:`float_node_names`.

    Raises:
        ValueError: If the file is not of ``lgm-pose export``.
    """
    from onnxruntime.quantization import (CalibrationDataReader,
                                          CalibrationMethod, QuantFormat,
                                          QuantType, quantize_static)

    graph = onnx.load(source).graph
    kept = float_node_names(graph)
    name, batches = graph.input[0].name, _batches(inputs, graph)
    part = max(1, CROPS_AT_ONCE // len(batches[0]))

    class Reader(CalibrationDataReader):

        def __len__(self) -> int:  # a multiple of the part, as is asked for
            return -(-len(batches) // part) * part

        def set_range(self, start_index: int, end_index: int) -> None:
            some = batches[start_index:end_index]
            self.feeds = iter([{name: batch} for batch in some])

        def get_next(self) -> Optional[Dict[str, np.ndarray]]:
            return next(self.feeds, None)

    logging.disable(logging.WARNING)  # it advises what is done here
    try:
        with redirect_stdout(io.StringIO()):  # a line for each part
            quantize_static(
                source,
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(ONNX_OPERATORS),
                nodes_to_exclude=kept,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options=dict(
                    CalibPercentile=PERCENTILE,
                    # The histogram of absolute values cannot be made of maps
                    # that are nearly constant, e.g. gates before a training.
                    CalibTensorRangeSymmetric=False,
                    CalibStridedMinMax=part))
    finally:
        logging.disable(logging.NOTSET)
    return kept


def quantize_openvino(source: str,
                      target_xml: str,
                      inputs: np.ndarray,
                      reduce_range: bool = False) -> List[str]:
    """Quantise an ONNX file with NNCF and write it in OpenVINO's format.

    Args:
        source (str): A file of ``lgm-pose export``, beside or itself the ONNX
            file that it was made of.
        target_xml (str): The .xml file to write; the .bin goes beside it.
        inputs (np.ndarray): As in :func:`quantize_onnx`.
        reduce_range (bool): As in :func:`quantize_onnx`.

    Returns:
        list[str]: As :func:`quantize_onnx`.

    Raises:
        ValueError: As :func:`quantize_onnx`.
    """
    import nncf
    import openvino
    from openvino.passes import ConstantFolding, Manager
    source_onnx = osp.splitext(source)[0] + '.onnx'
    graph = onnx.load(source_onnx).graph
    kept = float_node_names(graph)
    batches = _batches(inputs, graph)
    model = read_openvino(source_onnx)
    # Without it NNCF finds neither biases to correct nor the weights of
    # depthwise convolutions.
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    fuse_silu(model)
    overflow_fix = nncf.OverflowFix.ENABLE if reduce_range else None
    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(sys.stderr):  # for the progress bars
        quantized = nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=len(batches),
            # Asymmetric activations: of SiLU and Hardswish few are negative.
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(
                names=_operator_names(model, graph, kept)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=overflow_fix))
    openvino.save_model(quantized, target_xml, compress_to_fp16=False)
    return kept


def fuse_silu(model: Any) -> int:
    """Replace x * sigmoid(x) by OpenVINO's Swish.

    Between the two operators NNCF would put a quantiser, which keeps OpenVINO
    from joining them with the convolution before them.

    Args:
        model (openvino.Model): The network, changed in place.

    Returns:
        int: The number of replaced pairs.
    """
    from openvino import opset8
    fused = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != 'Multiply':
            continue
        for x, gate in (node.input_values(), node.input_values()[::-1]):
            sigmoid = gate.get_node()
            if (sigmoid.get_type_name() == 'Sigmoid'
                    and sigmoid.input_value(0) == x):
                swish = opset8.swish(x)
                swish.set_friendly_name(node.get_friendly_name())
                node.output(0).replace(swish.output(0))
                fused += 1
                break
    return fused


def _operator_names(model: Any, graph: onnx.GraphProto,
                    kept: Sequence[str]) -> List[str]:
    """Names of the operators OpenVINO makes of ONNX nodes.

    Of a convolution with bias it makes two, of LayerNormalization three; the
    last has the node's name or that of a graph's output.
    """
    known: Set[str] = set()
    wanted: Set[str] = set()
    for node in graph.node:
        known.update((node.name, *node.output))
        if node.name in kept:
            wanted.update((node.name, *node.output))
    found = set()
    operators = [
        op for op in model.get_ops() if op.get_friendly_name() in wanted
    ]
    while operators:
        op = operators.pop()
        found.add(op.get_friendly_name())
        operators += [
            source
            for source in (value.get_node() for value in op.input_values())
            if source.get_friendly_name() not in known
            and source.get_type_name() not in ('Constant', 'Parameter')
        ]
    return sorted(found)


def check_runs(file: str, inputs: np.ndarray) -> None:
    """Run a file once in a process of its own.

    Some runtimes crash on some quantised networks, e.g. OpenVINO 2026.3 on
    CPUs with AMX if the batch is dynamic (its issue 37577), and would take
    this process along.

    Args:
        file (str): An .onnx or .xml file.
        inputs (np.ndarray): Inputs it takes.

    Raises:
        ValueError: If the file does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = osp.join(folder, 'inputs.npy')
        np.save(saved, inputs)
        result = subprocess.run(
            function_command('lgm_pose_plugin.runtime.session', 'run_once',
                             file, saved),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            universal_newlines=True)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ['']
        raise ValueError(
            'the runtime cannot run the int8 network on this CPU (exit status '
            f'{result.returncode}): {lines[-1]}. A fixed --batch or another '
            '--format may help')


def _batches(inputs: np.ndarray, graph: onnx.GraphProto) -> List[np.ndarray]:
    """Inputs (N, ...) in batches of the graph's size, else of one."""
    size = graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return split_batches(inputs, size or 1)
