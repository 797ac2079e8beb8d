"""The counts of the paper's tables, to the last printed digit."""
import json
from pathlib import Path

import pytest

from lgm_pose_plugin.analysis import complexity
from lgm_pose_plugin.analysis.complexity import (Complexity, Published,
                                                 count_all, count_complexity,
                                                 matches, package_configs)
from lgm_pose_plugin.cli import main

# All parameters (M), multiply-adds as MMEngine counts them (G), and what the
# paper prints.
LGM_POSE = {
    'lgm-pose_1xb32-260e_coco-256x192': ('1.0780 0.6694', '1.1', '0.6'),
    'lgm-pose-l_1xb32-260e_coco-256x192': ('1.0756 0.6664', '1.1', '0.6'),
    'lgm-pose-b_1xb32-260e_coco-256x192': ('1.0737 0.6657', '1.1', '0.6'),
    'lgm-pose_1xb32-260e_coco-384x288': ('1.1566 1.5597', '1.2', '1.5'),
    'lgm-pose_1xb32-260e_mpii-256x256': ('1.0928 0.9004', '1.1', '0.90'),
    'lgm-pose-fusion-none_1xb32-260e_mpii-256x256':
    ('0.7926 0.7208', '0.8', '0.7'),
    'lgm-pose-fusion-conv_1xb32-260e_mpii-256x256':
    ('2.1921 1.5767', '2.1', '1.5'),
    'lgm-pose-fusion-dw1_1xb32-260e_mpii-256x256':
    ('1.0884 0.8976', '1.08', '0.89'),
    'lgm-pose-fusion-dw2_1xb32-260e_mpii-256x256':
    ('1.0928 0.9004', '1.1', '0.90'),
    'lgm-pose-mobilevit_1xb32-260e_mpii-256x256': ('2.4912 1.3835', '2.5',
                                                   '1.4'),
}


@pytest.fixture(scope='module')
def count():
    """Count a config, of the checkout or installed, once."""
    rows = {}

    def count(path):
        name = Path(path).stem
        if name not in rows:
            rows[name] = count_complexity(path)
        return rows[name]

    return count


@pytest.mark.promise('papers-sizes')
@pytest.mark.parametrize('name', LGM_POSE)
def test_table(load_config, count, name):
    cfg = load_config(f'td-hm_{name}')
    row = count(cfg.filename)
    counts, *printed = LGM_POSE[name]
    assert counts == f'{row.params / 1e6:.4f} {row.macs / 1e9:.4f}'
    assert row.input_size == tuple(cfg.codec.input_size[::-1])
    assert row.paper == Published(*printed)
    assert not row.differs


# leaf and all parameters (M), thop and conv multiply-adds (G), and what the
# papers print.
LAPX = {
    'lapx-cbam_8xb64-210e_mpii-256x256':
    ('2.2752 2.2752 3.4431 3.3435', '2.28', None),
    'lapx-eca-cbam_8xb64-210e_mpii-256x256':
    ('2.2590 2.2590 3.4431 3.3435', '2.26', None),
    'lapx-soft-gate_8xb64-210e_mpii-256x256':
    ('2.2590 2.2671 3.4431 3.3435', '2.26', None),
    'lapx-stem-eca-cbam_8xb64-210e_mpii-256x256':
    ('2.2591 2.2673 3.4443 3.3439', '2.26', None),
    'lapx_8xb64-210e_mpii-256x256': ('2.3030 2.3111 3.4451 3.3446', '2.30',
                                     None),
    'lapx_8xb64-210e_coco-256x192': ('2.3040 2.3122 2.5870 2.5117', '2.30',
                                     '2.59'),
    'lap_8xb64-210e_coco-256x192': ('2.3394 2.3394 2.7759 2.7068', '2.34',
                                    '2.78'),
    'lap_8xb64-210e_mpii-256x256': ('2.3387 2.3387 3.6981 3.6058', '2.3',
                                    '3.7'),
}


@pytest.mark.promise('papers-sizes')
@pytest.mark.parametrize('name', LAPX)
def test_lapx_table(load_config, count, name):
    row = count(load_config(f'td-hm_{name}').filename)
    counts, params, macs = LAPX[name]
    assert counts == (f'{row.leaf_params / 1e6:.4f} {row.params / 1e6:.4f} '
                      f'{row.thop_macs / 1e9:.4f} {row.conv_macs / 1e9:.4f}')
    assert row.paper == Published(params, macs, 'leaf_params', 'thop_macs')
    assert not row.differs


def test_counters(load_config, count):
    """The counters tell apart what the design page says they do."""
    names = ('soft-gate', 'eca-cbam', 'cbam')
    gated, plain, cbam = (
        count(
            load_config(f'td-hm_lapx-{name}_8xb64-210e_mpii-256x256').filename)
        for name in names)
    assert gated.params - gated.leaf_params == 39 * 208
    assert plain.params == plain.leaf_params == gated.leaf_params
    assert cbam.params - plain.params == 3 * (2 * 208 * 13 - 7)
    assert gated.conv_macs < gated.macs < gated.thop_macs


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
def test_matches(value, printed, expected):
    assert matches(value, printed) is expected


@pytest.mark.promise('papers-sizes')
def test_differs():
    row = Complexity('name', (256, 192), 1078000, 1, 669400000, 1, 1,
                     Published('1.1', '0.6'))
    assert not row.differs
    assert row._replace(params=1200000).differs
    assert row._replace(macs=800000000).differs
    assert not row._replace(params=1, macs=1, paper=Published()).differs
    paper = Published('1.1', '0.6', 'leaf_params', 'thop_macs')
    assert row._replace(paper=paper).differs
    assert not row._replace(
        leaf_params=1078000, thop_macs=669400000, paper=paper).differs


def test_package_configs(root):
    paths = package_configs()
    assert sorted(paths) == sorted(
        str(path)
        for path in (root / 'configs' / 'body_2d_keypoint').rglob('*.py')
        if path.parent.name != 'lsp_benchmark')
    ablations = ['ablation' in path for path in paths]
    assert ablations == sorted(ablations) and any(ablations)


def test_same_networks_share_a_row(load_config, count, monkeypatch):
    monkeypatch.setattr(complexity, 'count_complexity', count)
    names = [
        'td-hm_lgm-pose_1xb32-260e_coco-256x192',
        'td-hm_lgm-pose_1xb32-260e_coco-256x192-test-dev',
        'td-hm_lgm-pose_8xb64-210e_coco-256x192',
        'td-hm_lgm-pose_1xb32-260e_mpii-256x256',
        'td-hm_lapx_8xb64-210e_mpii-256x256',
        'td-hm_lapx_8xb64-210e_mpii-256x256-no-flip'
    ]
    rows = count_all([load_config(name).filename for name in names])
    assert [row.name for row in rows] == [names[0], names[3], names[4]]
    assert [row.paper[:2] for row in rows] == [('1.1', '0.6'), ('1.1', '0.90'),
                                               ('2.30', None)]


@pytest.fixture
def paths(load_config):
    return [
        load_config(f'td-hm_lgm-pose_1xb32-260e_{name}').filename
        for name in ('coco-256x192', 'coco-384x288')
    ]


def test_command_line_json(paths, capsys, count, monkeypatch):
    monkeypatch.setattr(complexity, 'count_complexity', count)
    assert main(['complexity', *paths, '--format', 'json']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row['input_size'] for row in rows] == [[256, 192], [384, 288]]
    first = rows[0]
    assert set(first) == set(Complexity._fields) | {'differs'}
    assert f"{first['params'] / 1e6:.4f}" == '1.0780'
    assert first['paper']['params'] == '1.1' and first['differs'] is False


def test_command_line_markdown(paths, capsys, count, monkeypatch):
    monkeypatch.setattr(
        complexity, 'count_complexity',
        lambda path: count(path)._replace(paper=Published('1.1', '0.6')))
    assert main(['complexity', *paths]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count('|') for line in lines}) == 1
    cells = [[cell.strip() for cell in line.split('|')[1:-1]]
             for line in lines]
    assert cells[2] == [
        'td-hm_lgm-pose_1xb32-260e_coco-256x192', '256x192', '1.0780',
        '1.0780', '1.1 (all)', '0.6694', '0.6502', '0.6873', '0.6 (MMEngine)',
        ''
    ]
    assert cells[3][0] == 'td-hm_lgm-pose_1xb32-260e_coco-384x288'
    assert cells[3][8:] == ['0.6 (MMEngine)', 'differs']


def test_command_line_takes_names(capsys):
    names = [
        'lgm-pose-fast', 'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
        'td-hm_mspn50_8xb32-210e_coco-256x192.py'
    ]
    assert main(['complexity', *names, '--format', 'json']) == 0
    ours, theirs = json.loads(capsys.readouterr().out)
    assert ours['name'] == 'simcc_lgm-pose-fast_8xb64-210e_coco-256x192'
    assert theirs['name'] == 'td-hm_mspn50_8xb32-210e_coco-256x192'
    assert ours['input_size'] == theirs['input_size'] == [256, 192]
    assert ours['params'] < 2e6 < theirs['params']


@pytest.mark.promise('one-line-errors')
@pytest.mark.parametrize('name, content, message', [
    ('gone.py', None, 'there is no config'),
    ('notes.md', 'hello', 'Only py/yml'),
    ('empty.py', 'a = 1', 'no config of a top-down network'),
    ('size.py', "_base_ = 'lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/"
     "coco/td-hm_lgm-pose_1xb32-260e_coco-256x192.py'\n"
     'model = dict(head=dict(decoder=None))', 'size.py has no input size'),
])
def test_command_line_reports_wrong_configs(tmp_path, capsys, name, content,
                                            message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert main(['complexity', str(path)]) == 1
    error, = capsys.readouterr().err.strip().splitlines()
    assert error.startswith('lgm-pose complexity: ') and message in error


@pytest.mark.e2e
@pytest.mark.promise('readme-figures')
def test_readme_shows_the_table(capsys, count, monkeypatch):
    monkeypatch.setattr(complexity, 'count_complexity', count)
    assert main(['complexity']) == 0
    page = Path(__file__).resolve().parents[2] / 'docs' / 'model_zoo.md'
    assert capsys.readouterr().out in page.read_text()
