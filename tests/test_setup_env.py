"""The plugin is known to MMPose and MMEngine, in whatever order they come."""
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lgm_pose_plugin import compat

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[1]
CONFIG = ("custom_imports = dict(imports=['lgm_pose_plugin'], "
          'allow_failed_imports=False)\n')
# One module of each registry that the plugin adds to.
ASK = '''
    from mmpose import registry
    for name, module in dict(
            MODELS='MobileViM', DATASETS='LspDataset', HOOKS='EpochSeedHook',
            TRANSFORMS='LoadCheckedImage', METRICS='LspPCKAccuracy',
            KEYPOINT_CODECS='SoftmaxUDPHeatmap',
            OPTIM_WRAPPERS='BFloat16OptimWrapper').items():
        found = getattr(registry, name).get(module)
        assert found and found.__module__.startswith('lgm_pose_plugin'), name
    from mmengine.infer import BaseInferencer
    look_up = BaseInferencer._load_model_from_metafile
    assert look_up.__module__ == 'lgm_pose_plugin.model_index'
    '''

# What may have been imported before a registry is asked.
SCRIPTS = dict(
    mmpose='''
    from mmpose.registry import MODELS
    assert MODELS.get('HRNet')
    import lgm_pose_plugin
    ''',
    config='''
    import sys
    from mmengine.config import Config
    Config.fromfile(sys.argv[1])
    ''',
    # It imports MMEngine, which imports it.
    model_index='import lgm_pose_plugin.model_index',
    # What autoreload, type checkers and threads do.
    import_hooks='''
    import importlib
    import importlib.util
    import sys
    import threading
    import lgm_pose_plugin
    importlib.reload(lgm_pose_plugin)
    for name in [name for name in sys.modules if 'lgm_pose' in name]:
        del sys.modules[name]
    # As that of an old six.
    old = type('Finder', (), dict(find_module=lambda *args: None))
    sys.meta_path.insert(0, old())
    import lgm_pose_plugin
    spec = importlib.util.find_spec('mmengine')
    assert spec.origin == spec.loader.get_filename('mmengine')
    threads = [threading.Thread(target=importlib.import_module, args=[name])
               for name in ('mmengine', 'mmpose.registry')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    import mmengine
    assert type(mmengine.__loader__).__name__ == 'SourceFileLoader'
    importlib.reload(mmengine)
    ''')


def run_python(*args, path=()):
    path = os.pathsep.join([*map(str, path), str(ROOT)])
    return subprocess.run([sys.executable, *map(str, args)],
                          env=dict(os.environ, PYTHONPATH=path),
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)


def run_script(script, *args, path=()):
    return run_python('-c', textwrap.dedent(script), *args, path=path)


@pytest.mark.parametrize('script', SCRIPTS.values(), ids=SCRIPTS)
def test_registers(tmp_path, script):
    if script is SCRIPTS['mmpose'] and any(x.state == 'active'
                                           for x in compat.status()[:2]):
        pytest.skip('MMPose cannot be imported before the plugin here')
    config = tmp_path / 'config.py'
    config.write_text(CONFIG)
    result = run_script(textwrap.dedent(script) + textwrap.dedent(ASK), config)
    assert result.returncode == 0, result.stderr


@pytest.mark.promise('python-m')
def test_modules_of_a_package_may_import_the_plugin(tmp_path):
    """``python -m`` imports the package before it knows what to run."""
    package = tmp_path / 'userpkg'
    package.mkdir()
    (package / '__init__.py').write_text('import lgm_pose_plugin\n')
    (package / 'train.py').write_text(textwrap.dedent(ASK))
    result = run_python('-m', 'userpkg.train', 'config', path=[tmp_path])
    assert result.returncode == 0, result.stderr


def test_modules_reach_spawned_processes():
    """As data sets do in workers of data loaders on Windows and macOS."""
    result = run_script('''
        import multiprocessing
        from lgm_pose_plugin.datasets import CheckedCocoDataset
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            name, = pool.map(repr, [CheckedCocoDataset])
        assert name == repr(CheckedCocoDataset), name
        ''')
    assert result.returncode == 0, result.stderr


@pytest.mark.promise('runtime-alone')
@pytest.mark.parametrize('missing, script', [
    ('mmcv', 'Config.fromfile(sys.argv[1])'),
    ('mmcv._ext', '''
     Config.fromfile(sys.argv[1])
     from mmpose.registry import MODELS
     MODELS.build(dict(type='MobileViM'))
     '''),
])
def test_config_names_the_cause_and_the_remedy(tmp_path, missing, script):
    config = tmp_path / 'config.py'
    config.write_text(CONFIG)
    result = run_script(
        f'import sys\nsys.modules[{missing!r}] = None\n'
        'from mmengine.config import Config\n' + textwrap.dedent(script),
        config)
    assert result.returncode == 1
    if "argument: 'input_size'" in result.stderr:
        pytest.skip('MMPose 1.1 does without the operators')
    assert 'lgm_pose_plugin cannot register its modules' in result.stderr
    assert missing in result.stderr and 'lgm-pose doctor' in result.stderr
    assert 'ImportError' in result.stderr


def test_failing_extension_names_the_plugin(tmp_path):
    """Each time, since ``import mmengine`` may be tried again."""
    (tmp_path / 'mmengine').mkdir()
    (tmp_path / 'mmengine/__init__.py').write_text('print("runs")\n')
    result = run_script(
        '''
        import lgm_pose_plugin
        for _ in range(2):
            try:
                import mmengine
            except ImportError as error:
                print(error)
        ''',
        path=[tmp_path])
    first, second = result.stdout.split('runs\n')[1:]
    assert first == second
    assert first.startswith('lgm_pose_plugin cannot extend MMEngine: Modu')
    assert first.endswith('Run `lgm-pose doctor` for the remedy.\n')
