"""The script that runs MMPose's tools on configs of the plugin."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
@pytest.mark.parametrize('args, status, text', [
    (('print_config', 'mine.py'), 0, "type='LGMHead'"),
    (('no_tool', 'mine.py'), 1, "'no_tool' is not a tool of MMPose"),
])
def test_tools(tmp_path, args, status, text):
    """Where nothing else imports the plugin."""
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/coco/"
        "td-hm_lgm-pose_1xb32-260e_coco-256x192.py'\n")
    result = subprocess.run(
        [sys.executable,
         str(ROOT / 'tools/mmpose_tool.py'), *args],
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True)
    assert result.returncode == status, result.stdout
    assert text in result.stdout
