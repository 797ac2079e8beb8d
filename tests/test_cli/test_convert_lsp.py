"""``lgm-pose convert-lsp``: what it prints and its exit status."""
import json

import numpy as np
from scipy.io import loadmat, savemat

from lgm_pose_plugin.cli import main


def test_prints_what_was_kept(rendered_lsp, tmp_path, capfd):
    source = rendered_lsp(tmp_path / 'source', 6)
    joints = loadmat(str(source / 'joints.mat'))['joints']
    joints[:] = 1
    joints[:, 2, 4] = np.arange(14) < 3
    savemat(str(source / 'joints.mat'), dict(joints=joints))
    out = tmp_path / 'out'
    assert main(['convert-lsp', str(source), str(out), '--val-from', '4']) == 0
    stdout, stderr = capfd.readouterr()
    # No bar: this is not a terminal.
    assert stderr == '' and stdout.splitlines() == [
        f'{out}/annotations/lspet_train.json: 3 images, 0 removed',
        f'{out}/annotations/lspet_val.json: 2 images, 1 removed',
        f'{out}/annotations/lspet_removed.json: the 1 removed records and the '
        'reasons'
    ]
    removed, = json.loads(
        (out / 'annotations' / 'lspet_removed.json').read_text())['removed']
    assert removed['file_name'] == 'im00005.jpg'


def test_in_place(rendered_lsp, tmp_path):
    rendered_lsp(tmp_path / 'lsp', 2)
    assert main(['convert-lsp', str(tmp_path / 'lsp'), '--val-from', '2']) == 0
    assert (tmp_path / 'lsp' / 'annotations' / 'lspet_val.json').is_file()


def test_wrong_folder(tmp_path, capfd):
    assert main(['convert-lsp', str(tmp_path)]) == 1
    error = capfd.readouterr().err
    assert error.startswith('lgm-pose convert-lsp: ') and 'joints.mat' in error
    assert list(tmp_path.iterdir()) == []
