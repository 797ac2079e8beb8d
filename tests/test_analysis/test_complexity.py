"""Counting parameters and multiply-adds."""
import json
from pathlib import Path

import pytest

from lgm_pose_plugin.analysis import complexity
from lgm_pose_plugin.analysis.complexity import Complexity, count_complexity
from lgm_pose_plugin.cli import main


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


@pytest.mark.e2e
def test_counters(load_config, tmp_path):
    """The counters tell apart what the design page says they do."""
    counts = []
    for name in ('soft-gate', 'eca-cbam', 'cbam'):
        base = load_config(f'td-hm_lapx-{name}_8xb64-210e_mpii-256x256')
        path = tmp_path / f'{name}.py'
        path.write_text(f'_base_ = {base.filename!r}\n'
                        'model = dict(backbone=dict(num_stages=1), '
                        'head=dict(num_stages=1))\n')
        counts.append(count_complexity(str(path)))
    gated, plain, cbam = counts
    assert gated.params - gated.leaf_params == 13 * 208
    assert plain.params == plain.leaf_params == gated.leaf_params
    assert cbam.params - plain.params == 2 * 208 * 13 - 7
    assert gated.conv_macs < gated.macs < gated.thop_macs


@pytest.mark.e2e
def test_hrnets_counter():
    """On HRNet-W32, for which HRNet's paper prints 7.10."""
    row = count_complexity('hrnet-w32')
    assert f'{row.hrnet_macs / 1e9:.1f}' == '7.1'
    assert row.hrnet_macs == int(row.conv_macs * 10**9 / 2**30)


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
    assert set(first) == set(Complexity._fields)
    assert f"{first['params'] / 1e6:.4f}" == '1.0780'


def test_command_line_markdown(paths, capsys, count, monkeypatch):
    monkeypatch.setattr(complexity, 'count_complexity', count)
    assert main(['complexity', *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count('|') for line in lines}) == 1
    assert lines[2] == ('| td-hm_lgm-pose_1xb32-260e_coco-256x192 | 256x192 '
                        '| 1.0780 | 1.0780 | 0.6694 | 0.6502 | 0.6873 |')
    assert lines[3].startswith('| td-hm_lgm-pose_1xb32-260e_coco-384x288 |')


def test_command_line_takes_names(capsys):
    names = [
        'lgm-pose-fast', 'mmpose::body_2d_keypoint/topdown_heatmap/coco/'
        'td-hm_mspn50_8xb32-210e_coco-256x192.py'
    ]
    assert main(['complexity', *names, '--format', 'json']) == 0
    ours, theirs = json.loads(capsys.readouterr().out)
    assert ours['name'] == 'td-hm_lgm-pose-fast_8xb64-210e_coco-256x192'
    assert theirs['name'] == 'td-hm_mspn50_8xb32-210e_coco-256x192'
    assert ours['input_size'] == theirs['input_size'] == [256, 192]
    assert ours['params'] < 2e6 < theirs['params']


@pytest.mark.promise('one-line-errors')
@pytest.mark.parametrize('name, content, message', [
    ('gone.py', None, 'there is no config'),
    ('notes.md', 'hello', 'Only py/yml'),
    ('empty.py', 'a = 1', 'does not define a top-down network'),
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
