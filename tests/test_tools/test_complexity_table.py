"""tools/complexity_table.py prints the table of docs/model_zoo.md."""
from pathlib import Path

import pytest

from lgm_pose_plugin.analysis.complexity import Complexity, count_parameters
from lgm_pose_plugin.models.builder import build_model, load_config


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('complexity_table')


@pytest.mark.e2e
@pytest.mark.promise('papers-sizes', 'readme-figures')
def test_page_shows_the_table(tool, request, monkeypatch, capsys):
    """Of the networks whose papers print multiply-adds; others take minutes.
    """
    names = {name for name, paper in tool.PAPER.items() if paper.macs}
    configs = [path for path in tool.configs() if Path(path).stem in names]
    monkeypatch.setattr(tool, 'configs', lambda: configs)
    assert tool.main() == 0
    page = (request.config.rootpath / 'docs' / 'model_zoo.md').read_text()
    table = capsys.readouterr().out
    assert all(row in page for row in table.splitlines())
    assert 'differs' not in table
    assert all(name in table for name in names)


@pytest.mark.e2e
@pytest.mark.promise('papers-sizes')
def test_parameters_are_the_papers(tool):
    """Of the other networks."""
    names = {name for name, paper in tool.PAPER.items() if not paper.macs}
    paths = [path for path in tool.configs() if Path(path).stem in names]
    assert len(paths) == len(names)
    for path in paths:
        name = Path(path).stem
        sizes = count_parameters(build_model(load_config(path)))
        row = Complexity(name, (), *sizes, 0, 0, 0)
        assert not tool.differs(row, tool.PAPER[name]), (name, sizes)


@pytest.mark.parametrize('value, printed, expected', [
    (1.078, '1.1', True),
    (1.0884, '1.08', True),
    (1.0884, '1.09', True),
    (1.0884, '1.1', True),
    (1.0884, '1.10', False),
    (1.5597, '1.5', True),
    (1.5597, '1.6', True),
    (1.5597, '1.4', False),
    (1.5597, '2', True),
    (1.5597, '1.57', False),
    (0.9004, '0.90', True),
    (0.9004, '0.91', False),
    (0.9004, None, True),
])
def test_matches(tool, value, printed, expected):
    assert tool.matches(value, printed) is expected


@pytest.mark.promise('papers-sizes')
def test_differs(tool):
    row = Complexity('name', (256, 192), 1078000, 1, 669400000, 1, 1)
    paper = tool.Published('1.1', '0.6')
    assert not tool.differs(row, paper)
    assert tool.differs(row._replace(params=1200000), paper)
    assert tool.differs(row._replace(macs=800000000), paper)
    assert not tool.differs(row._replace(params=1, macs=1), tool.Published())
    paper = tool.Published('1.1', '0.6', 'leaf_params', 'thop_macs')
    assert tool.differs(row, paper)
    assert not tool.differs(
        row._replace(leaf_params=1078000, thop_macs=669400000), paper)
