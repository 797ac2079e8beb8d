"""What the documents say of the package itself."""
import re
import subprocess
import sys
from pathlib import Path

import mmpose
import mmpose.registry
import pytest
from mmengine.registry import FUNCTIONS, Registry

from lgm_pose_plugin import cli

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.promise('registered-modules')
def test_modules_of_the_page_are_registered():
    table = (ROOT / 'docs/mmpose.md').read_text().partition(
        '| registered names |')[2].partition('\n\n')[0]
    named = re.findall(r'`(\w+)`', table)
    registries = [
        value for value in vars(mmpose.registry).values()
        if isinstance(value, Registry)
    ] + [FUNCTIONS]
    for name in named:
        found = [registry.get(name) for registry in registries]
        modules = {one.__module__.split('.')[0] for one in found if one}
        assert modules == {'lgm_pose_plugin'}, name
    # And the other way round, apart from the parts of the networks.
    ours = {
        name
        for registry in registries if registry.name not in ('model', )
        for name, value in registry.module_dict.items()
        if value.__module__.startswith('lgm_pose_plugin')
    }
    assert ours <= set(named)


@pytest.mark.parametrize('document', [
    'README.md', *sorted(f'docs/{path.name}'
                         for path in (ROOT / 'docs').glob('*.md'))
])
def test_named_configs_exist(document):
    """Whole names alone; with '...' they are abbreviated."""
    roots = ROOT, Path(mmpose.__file__).parent / '.mim'
    configs = {
        path.stem
        for root in roots
        for path in (root / 'configs').rglob('*.py')
    }
    text = (ROOT / document).read_text()
    named = re.findall(r'(?:td-hm|simcc)_[\w.-]*?\d+x\d+(?:-[a-z]+)*(?=\W)',
                       text)
    assert set(named) <= configs
    assert named or document != 'docs/model_zoo.md'


@pytest.mark.promise('dependencies')
def test_dependencies_are_those_of_mmpose():
    """Installing the plugin leaves the packages of an MMPose as they are."""
    text = (ROOT / 'pyproject.toml').read_text()

    def listed(name):
        block, = re.findall(rf'^{name} = \[\n(.*?)^\]', text,
                            re.DOTALL | re.MULTILINE)
        return set(re.findall(r'^    "(\w+)', block, re.MULTILINE))

    assert listed('dependencies') == {'numpy'}
    assert listed('mmpose') == {
        'mmpose', 'mmengine', 'mmcv', 'mmdet', 'torch', 'torchvision',
        'xtcocotools'
    }


@pytest.mark.e2e
def test_without_the_extras(tmp_path):
    """What training, testing and inference in MMPose import needs MMPose's."""
    script = (
        'import sys; sys.modules.update(dict.fromkeys(("onnx", "onnxruntime", '
        '"openvino", "nncf", "supervision", "trackers", "OneEuroFilter"))); '
        'import lgm_pose_plugin.models.builder, lgm_pose_plugin.analysis.erf, '
        'lgm_pose_plugin.models.detector_model; '
        'from mmpose.registry import MODELS; '
        'assert MODELS.get("HeatmapDistiller")')
    subprocess.run([sys.executable, '-W', 'ignore', '-c', script],
                   check=True,
                   cwd=str(ROOT))


@pytest.mark.promise('commands')
def test_page_lists_the_commands(capsys):
    page = (ROOT / 'docs/commands.md').read_text()
    assert tuple(re.findall(r'^\| `([\w-]+)` \|', page,
                            re.MULTILINE)) == cli.COMMANDS
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main([name, '--help'])
        assert stop.value.code == 0
        assert f'lgm-pose {name}' in capsys.readouterr().out
