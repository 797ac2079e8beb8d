"""What stands in several files of the project agrees."""
import re
from pathlib import Path

import pytest
import yaml

from lgm_pose_plugin import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_hooks_are_the_linters_of_make_lint():
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    hooks = [hook for repo in config['repos'] for hook in repo['hooks']]
    assert {hook['id']
            for hook in hooks} == {'codespell', 'flake8', 'isort', 'yapf'}
    project = (ROOT / 'pyproject.toml').read_text()
    for hook in hooks:
        pinned, = hook['additional_dependencies']
        assert f'"{pinned.replace("==", "<=")}"' in project


@pytest.mark.parametrize('file, pattern', [
    ('CITATION.cff', r'^version: (.*)'),
    ('CHANGELOG.md', r'^## (\S+)'),
])
def test_version(file, pattern):
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    assert found.group(1) == __version__
