"""Check an environment against the traps that MMPose's users fall into.

Nothing of torch or OpenMMLab is imported here: what may crash runs in
another process, so that the rest is still reported.
"""
import json
import os
import platform
import re
import signal
import subprocess
import sys
from importlib import metadata
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

__all__ = ['Facts', 'Probe', 'Result', 'collect_facts', 'diagnose']

ALL = ('infer', 'test', 'train')

# Distributions that provide one import name; the first is the usual one.
# The onedl-* are maintained forks. mmcv-lite lacks the compiled ops.
PROVIDERS = {
    'torch': ('torch', ),
    'torchvision': ('torchvision', ),
    'numpy': ('numpy', ),
    'mmengine': ('mmengine', 'onedl-mmengine', 'mmengine-lite'),
    'mmcv': ('mmcv', 'onedl-mmcv', 'mmcv-full', 'mmcv-lite'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
    'mmpose': ('mmpose', ),
    'xtcocotools': ('xtcocotools', ),
    'opencv': ('opencv-python-headless', 'opencv-python',
               'opencv-contrib-python-headless', 'opencv-contrib-python'),
}
# First version that works, first that does not, how to get one that does.
# mmdet 3.3.0 asserts mmcv < 2.2.
MMCV_REMEDY = ('pip install "setuptools<81" ninja psutil && MMCV_WITH_OPS=1 '
               'pip install --no-build-isolation --no-binary mmcv '
               'mmcv==2.1.0 (or `mim install mmcv==2.1.0`, if there is a '
               'wheel for your torch)')
VERSIONS = {
    'torch': ('1.13', None, 'pip install torch==2.9.1'),
    'torchvision': ('0.14', None, 'pip install the torchvision that belongs '
                    'to your torch, e.g. 0.24.1 to 2.9.1'),
    'numpy': ('1.22', None, 'pip install numpy'),
    'mmengine': ('0.10.4', '1', 'pip install mmengine==0.10.7'),
    'mmcv': ('2.0.1', '2.2', MMCV_REMEDY),
    'mmdet': ('3.0', '4', 'pip install mmdet==3.3.0'),
    'mmpose': ('1.1', '2', 'pip install --no-deps mmpose==1.3.2 && '
               'pip install json_tricks matplotlib munkres scipy'),
    'xtcocotools': ('1.12', None, 'pip install "cython>=3" "setuptools<81" '
                    '&& pip install --no-build-isolation --no-binary '
                    'xtcocotools xtcocotools'),
}


class Probe(NamedTuple):
    """What came of a piece of code that ran in another process."""

    ok: bool
    value: Any = None  # what the code returned
    error: str = ''  # what stopped it


class Facts(NamedTuple):
    """What the checks judge."""

    python: Sequence[int]
    versions: Dict[str, str]  # of the installed distributions
    environ: Dict[str, str]
    cores: float  # the machine's
    cpus: float  # those this process may use
    load: float  # processes that run now
    mim_configs: str  # where mim finds the configs, or ''
    probes: Dict[str, Probe]


class Result(NamedTuple):
    """What a check found."""

    name: str
    status: str  # ok, warn, FAIL or info
    found: str
    remedy: str = ''
    blocks: Sequence[str] = ()  # of infer, test, train


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
    from mmengine.runner import Runner  # noqa: F401

    import mmpose.datasets  # noqa: F401
    import mmpose.evaluation  # noqa: F401
    import mmpose.models  # noqa: F401


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

    from lgm_pose_plugin.checkpoint import allow_mmengine_checkpoints
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
    # sys.path is ours, and argv[0] keeps the package from registering itself.
    code = ('import sys; sys.path[:] = {!r}; sys.argv[0] = "lgm-pose"; '
            'from lgm_pose_plugin.doctor import answer_probes; '
            'answer_probes({!r})')
    answers = {}
    names = list(names)
    while names:
        command = [sys.executable, '-c', code.format(sys.path, names)]
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


# Facts


def available_cpus() -> float:
    """Count the CPUs that affinity and the container's quota leave us.

    Returns:
        float: The number; a quota may be a fraction.
    """
    try:
        cpus = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS and Windows
        cpus = float(os.cpu_count() or 1)
    for quota_file, period_file in (('/sys/fs/cgroup/cpu.max', None),
                                    ('/sys/fs/cgroup/cpu/cpu.cfs_quota_us',
                                     '/sys/fs/cgroup/cpu/cpu.cfs_period_us')):
        try:
            with open(quota_file) as file:
                quota = file.read().split()
            if period_file:
                with open(period_file) as file:
                    quota += file.read().split()
            if float(quota[0]) > 0:
                cpus = min(cpus, float(quota[0]) / float(quota[1]))
        except (OSError, ValueError):  # no cgroup, or 'max': no quota
            pass
    return cpus


def cpu_model() -> str:
    """Find the CPU's name, which ``platform`` does not tell on Linux.

    Returns:
        str: The name.
    """
    if os.path.exists('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            found = re.search(r'model name\s*: (.+)', file.read())
        if found:
            return found.group(1)
    return platform.processor() or platform.machine()


def find_mim_configs() -> str:
    """Look where mim looks for the plugin's configs.

    Returns:
        str: The folder; empty if it is not there, as of an editable install.
    """
    try:
        configs = str(
            metadata.distribution('lgm_pose_plugin').locate_file(
                os.path.join('lgm_pose_plugin', '.mim', 'configs')))
    except metadata.PackageNotFoundError:
        return ''
    return configs if os.path.isdir(configs) else ''


def collect_facts() -> Facts:
    """Look at this environment; takes as long as importing MMPose.

    Returns:
        Facts: What the checks judge.
    """
    versions = {}
    for distribution in metadata.distributions():
        name = distribution.metadata['Name']
        # The first on sys.path is the one that is imported. A damaged
        # installation may leave a folder without a name.
        if name:
            name = re.sub(r'[-_.]+', '-', name).lower()
            versions.setdefault(name, distribution.version)
    return Facts(
        python=sys.version_info[:3],
        versions=versions,
        environ=dict(os.environ),
        cores=float(os.cpu_count() or 1),
        cpus=available_cpus(),
        load=os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.,
        mim_configs=find_mim_configs(),
        probes=run_probes(PROBES))


# Checks


def _release(version: str) -> tuple:
    return tuple(int(n) for n in re.findall(r'\d+', version.split('+')[0])[:3])


def _from_probe(facts: Facts,
                name: str,
                probe: str,
                found: str,
                remedy: str,
                blocks: Sequence[str] = ALL) -> Result:
    answer = facts.probes[probe]
    if answer.ok:
        return Result(name, 'ok', found)
    missing = re.search(r"No module named '(\w+)'", answer.error)
    if missing and missing.group(1) in PROVIDERS:
        remedy = f'{missing.group(1)} is missing, see its line'
    lines = [line.strip() for line in answer.error.splitlines()]
    error = ' '.join(line for line in lines if line)
    return Result(name, 'FAIL', error[:400], remedy, blocks)


def check_python(facts: Facts) -> Iterator[Result]:
    """Whether this Python is one of those allowed."""
    version = '.'.join(map(str, facts.python))
    if (3, 8) <= tuple(facts.python[:2]) <= (3, 12):
        yield Result('python', 'ok', version)
    else:
        yield Result('python', 'warn', f'{version}, allowed are 3.8 to 3.12',
                     'make an environment with Python 3.11')


def check_versions(facts: Facts) -> Iterator[Result]:
    """Whether packages are there, in versions that work."""
    for name, (lowest, too_high, remedy) in VERSIONS.items():
        installed = [d for d in PROVIDERS[name] if d in facts.versions]
        if not installed:
            yield Result(name, 'FAIL', 'not installed', remedy, ALL)
            continue
        version = facts.versions[installed[0]]
        found = f'{installed[0]} {version}'
        if installed[0] == 'mmcv-lite':
            yield Result(name, 'FAIL',
                         f'{found}: lacks mmcv.ops, which MMPose imports',
                         f'pip uninstall mmcv-lite; {remedy}', ALL)
        elif installed[0].startswith('onedl-'):
            # They count on from the originals; the imports below decide.
            yield Result(name, 'ok', f'{found}, a maintained fork')
        elif (_release(version) < _release(lowest)
              or too_high and _release(version) >= _release(too_high)):
            wanted = f'>={lowest}' + (f',<{too_high}' if too_high else '')
            yield Result(name, 'FAIL', f'{found}, needed is {wanted}', remedy,
                         ALL)
        else:
            yield Result(name, 'ok', found)


def check_clashes(facts: Facts) -> Iterator[Result]:
    """Whether two distributions provide the same package."""
    for name, distributions in PROVIDERS.items():
        installed = [d for d in distributions if d in facts.versions]
        if len(installed) > 1:
            yield Result(
                f'{name} clash', 'warn',
                f'{" and ".join(installed)} write the same files; removing '
                'or updating one breaks the other',
                f'pip uninstall {" ".join(installed)}, then install '
                f'{installed[0]} alone')


def check_fork(facts: Facts) -> Iterator[Result]:
    """Tell of what a fork of MMEngine does otherwise."""
    if 'onedl-mmengine' in facts.versions:
        yield Result(
            'onedl-mmengine', 'info',
            'loads a checkpoint which torch refuses as unsafe all the same, '
            'with a mere log line: open only files you trust')


def check_opencv(facts: Facts) -> Iterator[Result]:
    """Whether OpenCV runs."""
    yield _from_probe(
        facts, 'opencv', 'opencv', f'cv2 {facts.probes["opencv"].value}',
        'pip uninstall opencv-python opencv-python-headless, then pip '
        'install opencv-python-headless (needs no libGL)')


def check_torch(facts: Facts) -> Iterator[Result]:
    """Whether torch, torchvision and numpy fit."""
    yield _from_probe(
        facts, 'torch runs', 'torch', 'torch, torchvision and numpy fit',
        'install torch and torchvision of the same release; a torch before '
        '2.3 also needs pip install "numpy<2"')


def check_xtcocotools(facts: Facts) -> Iterator[Result]:
    """Whether xtcocotools fits numpy."""
    yield _from_probe(
        facts, 'xtcocotools runs', 'xtcocotools', 'fits numpy',
        'the wheel was built for numpy 1: build it here with pip install '
        '"cython>=3" "setuptools<81" && pip install --force-reinstall '
        '--no-deps --no-build-isolation --no-cache-dir --no-binary '
        'xtcocotools xtcocotools; or pip install "numpy<2"')
    undecoded = facts.probes['xtcocotools'].value
    if undecoded:
        yield Result(
            'xtcocotools masks', 'info',
            f'cannot be decoded ({undecoded}), which only bottom-up training '
            'does; pip install "numpy<2" if you need it')


def check_drawing(facts: Facts) -> Iterator[Result]:
    """Whether MMPose can draw with this numpy."""
    numpy = facts.versions.get('numpy')
    mmpose = facts.versions.get('mmpose')
    if numpy and mmpose and _release(numpy) >= (2, 4) and _release(mmpose) <= (
            1, 3, 2):
        yield Result(
            'drawing', 'warn', f'numpy {numpy} refuses the circles that '
            f'mmpose {mmpose} draws: pictures with key points fail',
            'pip install "numpy<2.4"')


def check_setuptools(facts: Facts) -> Iterator[Result]:
    """Whether setuptools has its pkg_resources."""
    version = facts.versions.get('setuptools')
    remedy = 'pip install "setuptools<81"'
    result = _from_probe(facts, 'setuptools', 'pkg_resources',
                         f'setuptools {version}', remedy)
    if result.status == 'FAIL':
        found = (f'setuptools {version or "is missing"}: mim and mmengine '
                 f'need its pkg_resources ({result.found})')
        result = result._replace(found=found, remedy=remedy)
    elif _release(version or '0') >= (81, ):
        result = result._replace(
            status='warn',
            found=f'setuptools {version} warns of the end of pkg_resources, '
            'which mim and mmengine import',
            remedy=remedy)
    yield result


def check_mmcv_ops(facts: Facts) -> Iterator[Result]:
    """Whether mmcv has its operators, on the CPU."""
    yield _from_probe(facts, 'mmcv ops', 'mmcv_ops', 'nms runs', MMCV_REMEDY)


def check_mmcv_cuda(facts: Facts) -> Iterator[Result]:
    """Whether they run on the GPU, where there is one."""
    answer = facts.probes['mmcv_cuda']
    if facts.probes['mmcv_ops'].ok and (answer.value or not answer.ok):
        # Networks for key points need none of mmcv's CUDA ops.
        result = _from_probe(
            facts, 'mmcv ops on CUDA', 'mmcv_cuda',
            f'nms runs, built for CUDA {answer.value}',
            'for detectors on the GPU build mmcv beside the CUDA toolkit of '
            f'your torch: FORCE_CUDA=1, {MMCV_REMEDY}', ())
        if result.status == 'FAIL':
            result = result._replace(status='warn')
        yield result


def check_mmdet(facts: Facts) -> Iterator[Result]:
    """Whether MMDetection accepts mmcv and MMEngine."""
    yield _from_probe(
        facts, 'mmdet imports', 'mmdet', 'accepts mmcv and mmengine',
        'pip install mmdet==3.3.0 with mmcv==2.1.0: mmdet asserts mmcv<2.2')


def check_mmpose(facts: Facts) -> Iterator[Result]:
    """Whether MMPose can be imported."""
    remedy = 'mend the FAIL lines above first, then ' + VERSIONS['mmpose'][2]
    yield _from_probe(facts, 'mmpose imports', 'mmpose',
                      'models, data sets, metrics', remedy)
    yield _from_probe(facts, 'mmpose.apis', 'mmpose_apis', 'imports', remedy,
                      ('infer', ))


def check_plugin(facts: Facts) -> Iterator[Result]:
    """Whether the plugin registers its modules."""
    names = facts.probes['plugin'].value or []
    yield _from_probe(
        facts, 'plugin', 'plugin', f'registers {", ".join(names)}',
        'mend the FAIL lines above first, then install lgm_pose_plugin again')


def check_checkpoint(facts: Facts) -> Iterator[Result]:
    """Whether MMEngine's checkpoints load safely."""
    yield _from_probe(
        facts, 'checkpoints', 'checkpoint', "MMEngine's load safely",
        'import lgm_pose_plugin before loading; do not set weights_only=False',
        ('infer', 'test'))


def check_unsafe_loading(facts: Facts) -> Iterator[Result]:
    """Whether the environment turns safe loading off."""
    value = facts.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '')
    if value.lower() in ('1', 'y', 'yes', 'true'):
        yield Result(
            'unsafe loading', 'warn',
            f'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD={value}: a checkpoint from '
            'elsewhere can run code; the plugin needs no such setting',
            'unset TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD')


def check_threads(facts: Facts) -> Iterator[Result]:
    """Whether threads outnumber the CPUs."""
    value = facts.environ.get('OMP_NUM_THREADS', '')
    number = value.split(',')[0]
    cpus = max(1, int(facts.cpus))
    found = (f'OMP_NUM_THREADS={value or "(unset)"}, {facts.cpus:g} of '
             f'{facts.cores:g} CPUs usable, load {facts.load:.1f}')
    if number.isdigit() and 0 < int(number) <= cpus:
        yield Result('threads', 'ok', found)
        return
    why = ('; threads wait for each other at every layer, and when one has '
           'no CPU of its own because of other processes, two can be 20 '
           'times slower than one')
    remedy = ('export OMP_NUM_THREADS=1 beside other load (data loader '
              f'workers, several runs), else at most {cpus}')
    if value or facts.cpus < facts.cores or facts.load > facts.cpus / 2:
        yield Result('threads', 'warn', found + why, remedy)
    else:
        yield Result('threads', 'info',
                     f'{found}; set it to 1 when several processes run')


def check_mim(facts: Facts) -> Iterator[Result]:
    """Whether mim is there and finds the configs."""
    if 'openmim' not in facts.versions:
        yield Result(
            'mim', 'warn', 'openmim is not installed: no `mim train`',
            'pip install --no-deps openmim && pip install click colorama '
            'model-index pandas rich tabulate')
    elif facts.mim_configs:
        yield Result('mim', 'ok', f'finds {facts.mim_configs}')
    else:
        yield Result(
            'mim', 'warn',
            '`mim train lgm_pose_plugin NAME` finds no configs: mim looks '
            'into site-packages, where an editable install puts none',
            'pip install . (without -e); or from the clone '
            'PYTHONPATH=. mim train mmpose configs/PATH.py')


def check_needless(facts: Facts) -> Iterator[Result]:
    """Tell of requirements that are none."""
    missing = [n for n in ('chumpy', 'opendatalab') if n not in facts.versions]
    if missing:
        yield Result('not needed', 'info',
                     f'{" and ".join(missing)} missing, which is fine')


def check_devices(facts: Facts) -> Iterator[Result]:
    """Tell of torch's GPUs."""
    found = facts.probes['torch'].value
    if found:
        cuda = found['cuda'] or 'no'
        yield Result(
            'devices', 'info', f'CUDA: {cuda} (torch built for '
            f'{found["built_for"] or "CPU"}), '
            f'MPS: {"yes" if found["mps"] else "no"}')


CHECKS = (check_python, check_versions, check_clashes, check_fork, check_torch,
          check_opencv, check_drawing, check_setuptools, check_xtcocotools,
          check_mmcv_ops, check_mmcv_cuda, check_mmdet, check_mmpose,
          check_plugin, check_checkpoint, check_unsafe_loading, check_threads,
          check_mim, check_needless, check_devices)


def diagnose(facts: Facts) -> List[Result]:
    """Judge an environment.

    Args:
        facts (Facts): What was seen of it.

    Returns:
        list[Result]: What each check found, in a fixed order. The
        environment can infer, test or train if no result ``blocks`` it.
    """
    return [result for check in CHECKS for result in check(facts)]
