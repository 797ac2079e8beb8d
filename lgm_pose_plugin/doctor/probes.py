"""Code that may crash, run in another process.

Each probe returns what it found, in words. Nothing of torch or OpenMMLab is
imported here outside of the probes.
"""
import json
import signal
import subprocess
from typing import Any, Dict, NamedTuple, Sequence

from lgm_pose_plugin.utils.subprocesses import function_command


class Probe(NamedTuple):
    """What came of a piece of code that ran in another process."""

    ok: bool
    text: str  # what the code returned, or what stopped it


def probe_torch() -> str:
    """Run an operator of torchvision and numpy; tell the devices."""
    import torch
    import torchvision

    # A torch that was built for numpy 1 cannot do this with numpy 2.
    torch.zeros(1).numpy()
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    cuda = torch.cuda.is_available() and torch.cuda.get_device_name(0)
    mps = getattr(torch.backends, 'mps', None)
    return (f'torch, torchvision and numpy fit; CUDA: {cuda or "no"} (torch '
            f'built for {torch.version.cuda or "CPU"}), MPS: '
            f'{"yes" if mps and mps.is_available() else "no"}')


def probe_opencv() -> str:
    """Resize a picture; tell OpenCV's version."""
    import cv2
    import numpy as np
    cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2))
    return f'cv2 {cv2.__version__}'


def probe_xtcocotools() -> str:
    """Encode a mask, which needs the numpy it was built for."""
    import numpy as np
    import xtcocotools.mask
    from xtcocotools.cocoeval import COCOeval  # noqa: F401
    xtcocotools.mask.encode(np.ones((2, 2), np.uint8, order='F'))
    return 'fits numpy'


def _nms(device: str) -> str:
    import torch
    from mmcv.ops import nms
    boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 9.]], device=device)
    kept = nms(boxes, torch.tensor([.9, .8], device=device), 0.5)[1]
    assert kept.tolist() == [0], f'nms kept {kept.tolist()}, not [0]'
    return 'nms runs'


def probe_mmcv_ops() -> str:
    """Run mmcv's NMS on the CPU."""
    return _nms('cpu')


def probe_mmcv_cuda() -> str:
    """Run mmcv's NMS on the GPU, if any."""
    import torch
    return _nms('cuda') if torch.cuda.is_available() else ''


def probe_mmdet() -> str:
    """Import MMDetection, which checks the versions of others."""
    import mmdet  # noqa: F401
    return 'accepts mmcv and mmengine'


def probe_mmpose() -> str:
    """Import what training, testing and inference need of MMPose."""
    import mmpose.apis  # noqa: F401
    import mmpose.datasets  # noqa: F401
    import mmpose.evaluation  # noqa: F401
    import mmpose.models  # noqa: F401
    from mmengine.runner import Runner  # noqa: F401
    return 'models, data sets, metrics, apis'


def probe_plugin() -> str:
    """Register the plugin; tell the names of its modules."""
    import lgm_pose_plugin
    lgm_pose_plugin.register_all_modules()
    from mmpose.registry import MODELS
    names = [
        name for name, module in MODELS.module_dict.items()
        if module.__module__.startswith('lgm_pose_plugin.')
    ]
    assert 'MobileViM' in names, f'MODELS holds only {names} of the plugin'
    return f'registers {", ".join(names)}'


def probe_checkpoint() -> str:
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
    return "MMEngine's load safely"


def probe_compat() -> str:
    """Tell what stands in for missing packages, a line for each part."""
    from lgm_pose_plugin import compat
    return '\n'.join(': '.join(status) for status in compat.status())


# The order is that of dependence: what fails first is the cause.
PROBES = ('torch', 'opencv', 'xtcocotools', 'mmcv_ops', 'mmcv_cuda', 'mmdet',
          'mmpose', 'plugin', 'checkpoint', 'compat')
_MARK = '@lgm-pose-doctor '


def answer_probes(names: Sequence[str]) -> None:
    """Run probes in this process and print what comes of them.

    Args:
        names (Sequence[str]): Names of the probes.
    """
    for name in names:
        try:
            answer = Probe(True, globals()[f'probe_{name}']())
        # Imports have been seen to call sys.exit.
        except BaseException as error:
            text = f'{type(error).__name__}: {error}'.strip()
            answer = Probe(False, text[-2000:])
        print(f'\n{_MARK}{json.dumps([name, *answer])}', flush=True)


def run_probes(names: Sequence[str], timeout: float = 180) -> Dict[str, Probe]:
    """Run probes in another process, which may die on the way.

    Args:
        names (Sequence[str]): Names of the probes.
        timeout (float): Seconds after which a process is ended. Defaults to
            180.

    Returns:
        dict[str, Probe]: What came of each.
    """
    answers: Dict[str, Probe] = {}
    missing = list(names)
    while missing:
        done: Any
        try:
            done = subprocess.run(
                function_command(__name__, 'answer_probes', missing),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout)
            end = f'the process ended with status {done.returncode}'
            if done.returncode < 0:
                name = signal.Signals(-done.returncode).name
                end = f'the process was killed by {name}'
        except subprocess.TimeoutExpired as error:
            done = error
            end = f'no answer within {timeout:g} s'
        out, err = ((text or b'').decode(errors='replace').splitlines()
                    for text in (done.stdout, done.stderr))
        for line in out:
            if line.startswith(_MARK):
                name, *answer = json.loads(line[len(_MARK):])
                answers[name] = Probe(*answer)
        missing = [name for name in missing if name not in answers]
        if missing:  # the first of them ended the process
            answers[missing.pop(0)] = Probe(False,
                                            ' '.join([f'({end})', *err[-1:]]))
    return answers
