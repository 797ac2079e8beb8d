"""Write networks to Core ML's packages, which apps of Apple's devices run.

Core ML itself runs on these devices alone. So the check of an export runs the
program that coremltools was given.
"""
import io
import json
import logging
import os.path as osp
import shutil
import warnings
from contextlib import redirect_stderr
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from lgm_pose_plugin.runtime.session import (METADATA_KEY, Inputs, Outputs,
                                             Session)
from lgm_pose_plugin.utils.errors import explain_errors
from .equivalents import with_equivalents
from .graph import MAP_NAMES, ExportedNetwork
from .onnx_file import output_names

# Operators of torch's programs that change nothing and that coremltools 9 does
# not have.
_NO_OPERATION = ('aten.alias.default', 'aten.detach.default',
                 'aten.lift_fresh_copy.default',
                 'aten._assert_tensor_metadata.default')
# When it is imported, it warns of versions, and of its parts for macOS.
logging.getLogger('coremltools').setLevel(logging.CRITICAL)


def to_coreml(network: ExportedNetwork, example: Tensor, file: str,
              dynamic: bool, float16: bool) -> Tuple[List[str], List[str]]:
    """Write a network to an .mlpackage, and its program beside it.

    The network takes an image, so that apps can give it the pixel buffers of
    the camera and of Vision. Core ML swaps their channels as they need it.

    Args:
        network (ExportedNetwork): The network, in eval mode, without
            decoding: some of its operators coremltools does not have.
        example (Tensor): An input of one crop.
        file (str): The .mlpackage to write; the .pt2 goes beside it.
        dynamic (bool): Not possible here.
        float16 (bool): Whether the network has weights of 16 bits and
            computes in them, as Apple's Neural Engine does.

    Returns:
        tuple[list[str], list[str]]: See :func:`.output_names`.

    Raises:
        ValueError: If the network cannot be converted.
    """
    import coremltools
    decoded, maps = output_names(network, example)
    network = with_equivalents(network, channels_first=True)
    kind: Any = coremltools.TensorType(name='images', shape=example.shape)
    if network.normalize:
        example = example.float().permute(0, 3, 1, 2).contiguous()
        kind = coremltools.ImageType(
            name='images',
            shape=example.shape,
            color_layout=coremltools.colorlayout.BGR)
    precision = (
        coremltools.precision.FLOAT16
        if float16 else coremltools.precision.FLOAT32)
    with explain_errors('coremltools cannot convert this network'), \
            redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.export.export(network, (example, ))
        program = program.run_decompositions({})
        for node in list(program.graph.nodes):
            if str(node.target) in _NO_OPERATION:
                node.replace_all_uses_with(node.args[0])
                program.graph.erase_node(node)
        program.graph_module.recompile()
        torch.export.save(program, _program(file))
        model = coremltools.convert(
            program,
            inputs=[kind],
            outputs=[coremltools.TensorType(name=name) for name in maps],
            compute_precision=precision,
            skip_model_load=True)
    # Not save, which adds a table of operators for ExecuTorch.
    shutil.copytree(model.package_path, file)
    return decoded, maps


def _program(file: str) -> str:
    return osp.splitext(file)[0] + '.pt2'


def open_program(file: str) -> Session:
    """Open the program that an .mlpackage was made of, in torch.

    Args:
        file (str): The .mlpackage; the .pt2 lies beside it.

    Returns:
        Session: The network, which computes in float32.
    """
    program = torch.export.load(_program(file)).module()

    def run(inputs: Inputs) -> Outputs:
        assert isinstance(inputs, np.ndarray)
        if inputs.dtype == np.uint8:  # what Core ML does with an image
            inputs = inputs.transpose(0, 3, 1, 2).astype(np.float32)
        with torch.no_grad():
            maps = program(torch.from_numpy(np.ascontiguousarray(inputs)))
        names = MAP_NAMES[:1] if len(maps) == 1 else MAP_NAMES[1:]
        return {name: one.numpy() for name, one in zip(names, maps)}

    return Session(None, (1, None, None, None), {}, run)


def finish_coreml(source: str, target: str, outputs: Sequence[str],
                  metadata: Dict[str, Any]) -> None:
    """Do what :func:`finish_onnx` does with an .mlpackage.

    Args:
        source (str): The .mlpackage.
        target (str): The .mlpackage to write.
        outputs (Sequence[str]): Names of the outputs, all of which are kept.
        metadata (dict): The metadata.
    """
    import coremltools
    model = coremltools.models.MLModel(source, skip_model_load=True)
    model.user_defined_metadata[METADATA_KEY] = json.dumps(metadata)
    model.save(target)
