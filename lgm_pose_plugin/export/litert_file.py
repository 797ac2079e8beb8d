"""Write networks to .tflite files, which LiteRT runs.

litert-torch converts from torch, so that weights and layouts are those of the
network; onnx2tf, which converts from ONNX, has needed Python 3.12 since its
release 2, and older ones bring TensorFlow and NumPy 1.
"""
import io
import json
from contextlib import redirect_stdout
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from torch import Tensor

from lgm_pose_plugin.runtime.session import METADATA_KEY
from lgm_pose_plugin.utils.errors import explain_errors
from .equivalents import with_equivalents
from .graph import ExportedNetwork
from .onnx_file import output_names


def to_litert(network: ExportedNetwork, example: Tensor, file: str,
              dynamic: bool, float16: bool) -> Tuple[List[str], List[str]]:
    """Write a network to a .tflite file.

    Args:
        network (ExportedNetwork): The network, in eval mode.
        example (Tensor): An input, whose batch size the file keeps.
        file (str): The file to write.
        dynamic (bool): Not possible here.
        float16 (bool): Whether weights are stored in 16 bits.

    Returns:
        tuple[list[str], list[str]]: See :func:`.output_names`.

    Raises:
        ValueError: If the network cannot be converted.
    """
    import litert_torch
    decoded, maps = output_names(network, example)
    with explain_errors('litert-torch cannot convert this network'), \
            redirect_stdout(io.StringIO()):  # its progress
        converted = litert_torch.convert(
            with_equivalents(network), (example, ))
        converted.export(file)
    if float16:
        _store_float16(file)
    model = _read(file)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for places, maps_to, names in ((graph.inputs, signature.inputs, ['images'
                                                                     ]),
                                   (graph.outputs, signature.outputs,
                                    decoded + maps)):
        # The signature may list them in another order.
        by_index = dict(zip(places, names))
        for one in maps_to:
            one.name = by_index[one.tensorIndex]
        for index, name in by_index.items():
            graph.tensors[index].name = name
    _write(model, file)
    return decoded, maps


def quantize_litert(source: str,
                    target: str,
                    inputs: Optional[np.ndarray] = None,
                    reduce_range: bool = False) -> List[str]:
    """Write a .tflite file with the weights in 8 bits; it computes in float.

    Args:
        source (str): A .tflite file of ``lgm-pose export``.
        target (str): The .tflite file to write.
        inputs (np.ndarray, optional): Not used: weights need no calibration.
        reduce_range (bool): Not possible here.

    Returns:
        list[str]: Nothing: all convolutions and matrix products have 8 bits.
    """
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.recipe import AlgorithmName
    _store_weights(
        source, target,
        qtyping.TensorQuantizationConfig(
            num_bits=8, granularity=qtyping.QuantGranularity.CHANNELWISE),
        AlgorithmName.MIN_MAX_UNIFORM_QUANT)
    return []


def _store_float16(file: str) -> None:
    """Store the weights of a .tflite file in 16 bits."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.recipe import AlgorithmName
    _store_weights(
        file, file,
        qtyping.TensorQuantizationConfig(
            num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
        AlgorithmName.FLOAT_CASTING)


def _store_weights(source: str, target: str, weights: Any,
                   algorithm: str) -> None:
    """Write a .tflite file with other weights, of which it makes floats."""
    from ai_edge_quantizer import qtyping, quantizer
    names = qtyping.TFLOperationName
    one = quantizer.Quantizer(source)
    for operator in (names.CONV_2D, names.DEPTHWISE_CONV_2D,
                     names.CONV_2D_TRANSPOSE, names.FULLY_CONNECTED):
        one.update_quantization_recipe(
            '.*', operator,
            qtyping.OpQuantizationConfig(
                weight_tensor_config=weights,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True), algorithm)
    content = one.quantize(
        enable_progress_bar=False,
        enable_progress_report=False).quantized_model
    with open(target, 'wb') as opened:
        opened.write(content)


def finish_litert(source: str, target: str, outputs: Sequence[str],
                  metadata: Dict[str, Any]) -> None:
    """Do what :func:`finish_onnx` does with a .tflite file.

    Args:
        source (str): The file with all outputs.
        target (str): The file to write.
        outputs (Sequence[str]): Names of the outputs to keep.
        metadata (dict): The metadata.
    """
    from ai_edge_litert import schema_py_generated as schema
    model = _read(source)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    signature.outputs = [
        one for one in signature.outputs if one.name.decode() in outputs
    ]
    kept = {one.tensorIndex for one in signature.outputs}
    graph.outputs = [index for index in graph.outputs if index in kept]
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = METADATA_KEY, len(model.buffers)
    buffer.data = list(json.dumps(metadata).encode())
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    _write(model, target)


def _read(file: str) -> Any:
    """Read a .tflite file as objects that can be changed."""
    from ai_edge_litert import schema_py_generated as schema
    with open(file, 'rb') as opened:
        content = opened.read()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        # The quantiser puts weights behind the message.
        if buffer.offset > 1:
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset:end], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def _write(model: Any, file: str) -> None:
    """Write what :func:`_read` returns."""
    import flatbuffers
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b'TFL3')
    with open(file, 'wb') as opened:
        opened.write(builder.Output())
