"""Write networks to OpenVINO's files."""
import json
import os.path as osp
from typing import Any, Dict, List, Sequence, Tuple

from torch import Tensor

from lgm_pose_plugin.runtime.session import (BIN_KEY, METADATA_KEY, file_hash,
                                             openvino_core)
from .graph import ExportedNetwork
from .onnx_file import output_names, write_onnx


def to_openvino(network: ExportedNetwork, example: Tensor, file: str,
                dynamic: bool, float16: bool) -> Tuple[List[str], List[str]]:
    """Write a network to an ONNX file and to OpenVINO's pair beside it.

    Args:
        network (ExportedNetwork): The network.
        example (Tensor): An input.
        file (str): The .xml file to write.
        dynamic (bool): Whether the batch size is left open.
        float16 (bool): Whether weights are stored in 16 bits.

    Returns:
        tuple[list[str], list[str]]: See :func:`output_names`.
    """
    source = osp.splitext(file)[0] + '.onnx'
    decoded, maps = output_names(network, example)
    write_onnx(network, example, source, decoded + maps, dynamic)
    save_openvino(read_openvino(source), file, float16)
    return decoded, maps


def read_openvino(source: str) -> Any:
    """Read an ONNX file with OpenVINO.

    Args:
        source (str): The ONNX file.

    Returns:
        openvino.Model: The network.
    """
    # Not convert_model: once saved, LGM-Pose converted by OpenVINO 2026.4.1
    # computed heat maps that were wrong by a tenth of their maximum.
    return openvino_core().read_model(source)


def save_openvino(model: Any, target: str, float16: bool = False) -> None:
    """Write OpenVINO's pair: the .xml with the hash of its .bin.

    Args:
        model (openvino.Model): The network, which gets the hash, too.
        target (str): The .xml file to write; the .bin goes beside it.
        float16 (bool): Whether weights are stored in 16 bits. Defaults to
            ``False``.
    """
    import openvino

    # The .bin does not depend on rt_info, so the second one is the same.
    openvino.save_model(model, target, compress_to_fp16=float16)
    model.set_rt_info(file_hash(target[:-4] + '.bin'), [BIN_KEY])
    openvino.save_model(model, target, compress_to_fp16=float16)


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
