"""The script that `mim train lgm_pose_plugin` runs."""
import runpy
import sys
from pathlib import Path

import pytest

TRAIN = Path(__file__).resolve().parents[2] / 'tools/train.py'


@pytest.mark.parametrize('args, refused', [
    ((
        '--resume',
        '--cfg-options',
        'a=1',
        'load_from=w/1.pth',
    ), True),
    (('--cfg-options', 'load_from=w/1.pth', '--resume'), True),
    (('--cfg-options', 'load_from=w/1.pth'), False),
    (('--resume', 'w/1.pth', '--cfg-options', 'load_from=w/1.pth'), False),
    (('--resume', '--cfg-options', 'a=1'), False),
])
def test_resume_of_another_training_is_refused(monkeypatch, args, refused):
    script = runpy.run_path(str(TRAIN))
    monkeypatch.setattr(sys, 'argv', ['train.py', 'config.py', *args])
    if not refused:
        script['check_resume']()
        return
    with pytest.raises(SystemExit, match='would continue w/1.pth .*leave'):
        script['check_resume']()
