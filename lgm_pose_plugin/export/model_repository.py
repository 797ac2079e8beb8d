"""The folders from which Triton and OpenVINO Model Server take networks."""
import json
import os
import os.path as osp
from typing import Any, Dict

from lgm_pose_plugin.runtime.session import METADATA_KEY, open_session

# Triton's names; OpenVINO Model Server looks at the folders alone.
BACKENDS = dict(onnx='onnxruntime', openvino='openvino')
MAX_BATCH_SIZE = 32  # crops that Triton joins to a batch
OUTPUTS = ('keypoints', 'scores', 'heatmaps', 'simcc_x', 'simcc_y')


def repository_file(folder: str, config: str, format: str) -> str:
    """Make the folders of a network and name the file in them.

    Args:
        folder (str): The model repository.
        config (str): The config, after which the network is named.
        format (str): ``'onnx'`` or ``'openvino'``.

    Returns:
        str: ``FOLDER/NAME/1/model.onnx``, or ``model.xml``.

    Raises:
        ValueError: If servers do not take the format.
    """
    if format not in BACKENDS:
        raise ValueError('a model repository takes onnx and openvino, not '
                         f'{format}')
    name = osp.splitext(osp.basename(config))[0]
    version = osp.join(folder, name, '1')
    os.makedirs(version, exist_ok=True)
    suffix = dict(onnx='.onnx', openvino='.xml')[format]
    return osp.join(version, 'model' + suffix)


def write_triton_config(file: str, report: Dict[str, Any]) -> str:
    """Describe a file for Triton.

    Args:
        file (str): See :func:`repository_file`.
        report (dict): See :func:`~lgm_pose_plugin.export.exporter.export`.

    Returns:
        str: The config.pbtxt that was written.
    """
    session, metadata = open_session(file), report['metadata']
    open_batch = session.batch is None
    kind = 'TYPE_UINT8' if metadata['normalize'] else 'TYPE_FP32'

    def tensor(name: str, kind: str, shape: Any) -> str:
        sizes = ', '.join(map(str, shape[1:] if open_batch else shape))
        return f'{{ name: "{name}" data_type: {kind} dims: [ {sizes} ] }}'

    folder = osp.dirname(osp.dirname(osp.abspath(file)))
    outputs = [
        tensor(name, 'TYPE_FP32', session.outputs[name]) for name in OUTPUTS
        if name in session.outputs
    ]
    lines = [
        f'name: "{osp.basename(folder)}"',
        f'backend: "{BACKENDS[report["format"]]}"',
        f'max_batch_size: {MAX_BATCH_SIZE if open_batch else 0}',
        f'input [ {tensor("images", kind, session.input_shape)} ]',
        f'output [ {", ".join(outputs)} ]',
        *(['dynamic_batching { }'] if open_batch else []),
        # The syntax of strings is JSON's.
        f'parameters {{ key: "{METADATA_KEY}" value: {{ string_value: '
        f'{json.dumps(json.dumps(metadata))} }} }}'
    ]
    config = osp.join(folder, 'config.pbtxt')
    with open(config, 'w') as opened:
        opened.write('\n'.join(lines) + '\n')
    return config
