"""Check an environment against the traps that MMPose's users fall into.

Nothing of torch or OpenMMLab is imported here: what may crash runs in
another process, so that the rest is still reported.
"""
import re
from typing import Iterator, List, NamedTuple, Sequence

from .facts import Facts

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


class Result(NamedTuple):
    """What a check found."""

    name: str
    status: str  # ok, warn, FAIL or info
    found: str
    remedy: str = ''
    blocks: Sequence[str] = ()  # of infer, test, train


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
