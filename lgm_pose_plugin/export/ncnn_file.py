"""Write networks to ncnn's files: .param, .bin and a .json of metadata."""
import json
import os.path as osp
import shutil
import subprocess
from typing import Any, Dict, List, Sequence, Tuple

import torch
from torch import Tensor

from lgm_pose_plugin.runtime.session import HASHES_KEY, file_hash
from .equivalents import with_equivalents
from .graph import ExportedNetwork
from .onnx_file import output_names


def to_ncnn(network: ExportedNetwork, example: Tensor, file: str,
            dynamic: bool, float16: bool) -> Tuple[List[str], List[str]]:
    """Write a network to ncnn's .param and .bin.

    Args:
        network (ExportedNetwork): The network, in eval mode, without
            decoding, which needs gathers that ncnn does not have.
        example (Tensor): An input of one crop.
        file (str): The .param file to write; the .bin goes beside it.
        dynamic (bool): Not possible here.
        float16 (bool): Whether weights are stored in 16 bits.

    Returns:
        tuple[list[str], list[str]]: See :func:`.output_names`.

    Raises:
        ValueError: If the network cannot be converted.
    """
    import pnnx
    decoded, maps = output_names(network, example)
    # ncnn has floats alone, and Mat::from_pixels puts channels first.
    network = with_equivalents(network, channels_first=True)
    if network.normalize:
        example = example.float().permute(0, 3, 1, 2).contiguous()
    stem = osp.splitext(file)[0]
    trace: Any = torch.jit.trace
    traced = trace(network, (example, ), check_trace=False)
    traced.save(stem + '.pt')
    result = subprocess.run([
        pnnx.EXEC_PATH, stem + '.pt',
        f'fp16={int(float16)}', f'inputshape={[*example.shape]}f32'.replace(
            ' ', ''), f'ncnnparam={file}', f'ncnnbin={stem}.bin'
    ],
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT,
                            universal_newlines=True)
    if result.returncode or not osp.isfile(file):
        raise ValueError('pnnx cannot convert this network: '
                         f'{result.stdout.strip()[-400:]}')
    with open(file) as opened:
        lines = opened.read().splitlines()
    names = dict(in0='images')
    names.update((f'out{i}', name) for i, name in enumerate(maps))
    # The first two lines are a number and the numbers of layers and blobs.
    for i, line in enumerate(lines[2:], 2):
        kind, layer, inputs, outputs, *rest = line.split()
        # pnnx leaves what ncnn does not have under its name in torch.
        if '::' in kind or kind.startswith(('nn.', 'F.', 'Tensor.', 'torch.')):
            raise ValueError(f'ncnn has no {kind}, which this network uses')
        blobs = int(inputs) + int(outputs)
        rest[:blobs] = [names.get(name, name) for name in rest[:blobs]]
        lines[i] = ' '.join([kind, layer, inputs, outputs, *rest])
    with open(file, 'w') as opened:
        opened.write('\n'.join(lines) + '\n')
    finish_ncnn(file, file, maps, {})
    return decoded, maps


def finish_ncnn(source: str, target: str, outputs: Sequence[str],
                metadata: Dict[str, Any]) -> None:
    """Do what :func:`finish_onnx` does with ncnn's files.

    Args:
        source (str): The .param file; the .bin lies beside it.
        target (str): The .param file to write; .bin and .json go beside it.
        outputs (Sequence[str]): Names of the outputs, all of which are kept.
        metadata (dict): The metadata. The .json file has the SHA-256 of the
            other two, too.
    """
    source, target = (osp.splitext(one)[0] for one in (source, target))
    hashes = {}
    for suffix in ('.param', '.bin'):
        if source != target:
            shutil.copyfile(source + suffix, target + suffix)
        hashes[suffix] = file_hash(target + suffix)
    with open(target + '.json', 'w') as opened:
        json.dump({**metadata, HASHES_KEY: hashes}, opened)
