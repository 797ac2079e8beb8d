"""Code that may crash, run in another process.

Nothing of torch or OpenMMLab is imported here outside of the probes.
"""
import json
import signal
import subprocess
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from lgm_pose_plugin.utils.subprocesses import function_command


class Probe(NamedTuple):
    """What came of a piece of code that ran in another process."""

    ok: bool
    value: Any = None  # what the code returned
    error: str = ''  # what stopped it


# Probes: run in another process, one after the other


def probe_torch() -> dict:
    """Run an operator of torchvision and numpy; tell the devices."""
    import torch
    import torchvision

    # A torch that was built for numpy 1 cannot do this with numpy 2.
    torch.zeros(1).numpy()
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    mps = getattr(torch.backends, 'mps', None)
    return dict(
        cuda=torch.cuda.is_available() and torch.cuda.get_device_name(0),
        built_for=torch.version.cuda,
        mps=bool(mps and mps.is_available()))


def probe_opencv() -> str:
    """Resize a picture; tell OpenCV's version."""
    import cv2
    import numpy as np
    cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2))
    return cv2.__version__


def probe_xtcocotools() -> str:
    """Encode a mask; tell why it cannot be decoded, if so."""
    import numpy as np
    import xtcocotools.mask
    from xtcocotools.cocoeval import COCOeval  # noqa: F401
    encoded = xtcocotools.mask.encode(np.ones((2, 2), np.uint8, order='F'))
    try:
        assert xtcocotools.mask.decode(encoded).sum() == 4
    except AttributeError as error:
        # 1.14.3 on numpy 2; only bottom-up training decodes masks.
        return str(error)
    return ''


def probe_pkg_resources() -> None:
    """Import what mim and MMEngine need of setuptools."""
    import pkg_resources
    pkg_resources.get_distribution('setuptools')


def _nms(device: str) -> None:
    import torch
    from mmcv.ops import nms
    boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 9.]], device=device)
    kept = nms(boxes, torch.tensor([.9, .8], device=device), 0.5)[1]
    assert kept.tolist() == [0], f'nms kept {kept.tolist()}, not [0]'


def probe_mmcv_ops() -> None:
    """Run mmcv's NMS on the CPU."""
    _nms('cpu')


def probe_mmcv_cuda() -> Optional[str]:
    """Run mmcv's NMS on the GPU, if any; tell its CUDA version."""
    import torch
    if not torch.cuda.is_available():
        return None
    _nms('cuda')
    from mmcv.ops import get_compiling_cuda_version
    return get_compiling_cuda_version()


def probe_mmdet() -> None:
    """Import MMDetection, which checks the versions of others."""
    import mmdet  # noqa: F401


def probe_mmpose() -> None:
    """Import what a training and a test need of MMPose."""
    import mmpose.datasets  # noqa: F401
    import mmpose.evaluation  # noqa: F401
    import mmpose.models  # noqa: F401
    from mmengine.runner import Runner  # noqa: F401


def probe_mmpose_apis() -> None:
    """Import what inference needs of MMPose."""
    import mmpose.apis  # noqa: F401


def probe_plugin() -> List[str]:
    """Register the plugin; tell the names of its modules."""
    import lgm_pose_plugin
    lgm_pose_plugin.register_all_modules()
    from mmpose.registry import MODELS
    names = [
        name for name, module in MODELS.module_dict.items()
        if module.__module__.startswith('lgm_pose_plugin.')
    ]
    assert 'MobileViM' in names, f'MODELS holds only {names} of the plugin'
    return names


def probe_checkpoint() -> None:
    """Load what MMEngine's checkpoints hold."""
    import io

    import numpy as np
    import torch
    from mmengine.logging import HistoryBuffer

    from lgm_pose_plugin.checkpoint.unpickling import \
        allow_mmengine_checkpoints
    allow_mmengine_checkpoints()
    stored = dict(log=HistoryBuffer([1.], [1]), score=np.float64(1.))
    stored['sigmas'] = np.ones(17, np.float32)
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    buffer.seek(0)
    assert torch.load(buffer)['log'].current() == 1.


# The order is that of dependence: what fails first is the cause.
PROBES = ('torch', 'opencv', 'xtcocotools', 'pkg_resources', 'mmcv_ops',
          'mmcv_cuda', 'mmdet', 'mmpose', 'mmpose_apis', 'plugin',
          'checkpoint')
_MARK = '@lgm-pose-doctor '


def answer_probes(names: Sequence[str]) -> None:
    """Run probes in this process and print what comes of them.

    Args:
        names (Sequence[str]): Names of the probes.
    """
    for name in names:
        # Written before the probe, it tells the one that killed us.
        print(f'\n{_MARK}{json.dumps([name])}', flush=True)
        try:
            answer = Probe(True, globals()[f'probe_{name}']())
        # Imports have been seen to call sys.exit.
        except BaseException as error:
            text = f'{type(error).__name__}: {error}'.strip()
            answer = Probe(False, None, text[-2000:])
        print(f'\n{_MARK}{json.dumps([name, answer])}', flush=True)


def run_probes(names: Sequence[str], timeout: float = 180) -> Dict[str, Probe]:
    """Run probes in another process, which may die on the way.

    Args:
        names (Sequence[str]): Names of the probes.
        timeout (float): Seconds after which a process is ended. Defaults to
            180.

    Returns:
        dict[str, Probe]: What came of each.
    """
    answers = {}
    names = list(names)
    while names:
        command = function_command(__name__, 'answer_probes', names)
        with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=timeout)
                end = _describe_end(process.returncode)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                end = f'no answer within {timeout:g} s'
        for line in out.decode(errors='replace').splitlines():
            if line.startswith(_MARK):
                name, *answer = json.loads(line[len(_MARK):])
                if answer:
                    answers[name] = Probe(*answer[0])
        missing = [name for name in names if name not in answers]
        if missing:
            last = err.decode(errors='replace').strip().splitlines()[-1:]
            answers[missing.pop(0)] = Probe(False, None,
                                            ' '.join([f'({end})'] + last))
        names = missing
    return answers


def _describe_end(status: int) -> str:
    if status >= 0:
        return f'the process ended with status {status}'
    try:
        return f'the process was killed by {signal.Signals(-status).name}'
    except ValueError:
        return f'the process was killed by signal {-status}'
