"""What stands in, where it is needed and only there."""
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmpose.visualization import PoseLocalVisualizer
from mmpose.visualization.opencv_backend_visualizer import \
    OpencvBackendVisualizer

from lgm_pose_plugin import compat
from lgm_pose_plugin.compat import drawing
from lgm_pose_plugin.compat import pkg_resources as compat_pkg_resources

# Lets a process miss packages, and NumPy be new.
HIDE = """
import sys
from importlib.machinery import PathFinder

class Hidden(PathFinder):

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in {hidden}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hidden
"""
PACKAGES = ('mmcv._ext', 'xtcocotools', 'pkg_resources')


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run code in a process that has not all packages; give its output."""

    def run(code, hidden=(), off=None):
        if off is not None:
            monkeypatch.setenv(compat.OFF, off)
        file = tmp_path / 'program.py'
        file.write_text(
            HIDE.format(hidden=tuple(hidden)) + textwrap.dedent(code))
        done = subprocess.run([sys.executable, str(file)],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE,
                              universal_newlines=True)
        return done.stdout.strip() if done.returncode == 0 else done.stderr

    return run


@pytest.mark.e2e
def test_works_without_any(run):
    output = run(
        """
        import lgm_pose_plugin
        import mmpose.models, mmpose.evaluation, mmdet.models
        from mmengine.utils import get_installed_path
        get_installed_path('mmpose')
        get_installed_path('mmdet')
        print(*(x.state for x in lgm_pose_plugin.compat.status()[:3]))
        """, PACKAGES)
    assert output.splitlines()[-1] == 'active active active'


@pytest.mark.e2e
def test_does_nothing_where_all_works(run):
    pytest.importorskip('xtcocotools._mask')
    if Path(mmcv._ext.__file__) in Path(compat.__file__).parent.iterdir():
        pytest.skip("mmcv's operators are not compiled")
    code = """import mmcv._ext, mmpose.datasets, mmpose.visualization
print(mmcv._ext.__file__, mmpose.datasets.datasets.base.base_coco_style_dataset
      .COCO.__init__.__code__.co_filename,
      mmpose.visualization.PoseLocalVisualizer.draw_circles.__code__
      .co_filename)
"""
    assert run('import lgm_pose_plugin\n' + code) == run(code)


@pytest.mark.e2e
@pytest.mark.parametrize('package', PACKAGES)
def test_can_be_switched_off(run, package):
    code = f'import lgm_pose_plugin, {package}'
    for off in (package.split('.')[0], 'all'):
        assert f"No module named '{package}'" in run(
            code, [package], off=f'drawing,{off}')


def test_tells_what_is_off(run):
    states = run(
        """
        from lgm_pose_plugin.compat import status
        print(*(x.state for x in status()))
        """,
        PACKAGES,
        off='mmcv,drawing')
    assert states.split()[:4] == ['off', 'active', 'active', 'off']


def test_a_wrong_name_is_refused(run):
    assert (
        'ValueError: LGM_POSE_COMPAT_OFF names mcv; it takes "all" or a '
        'list of mmcv, xtcocotools, pkg_resources, drawing, compile') in run(
            'import lgm_pose_plugin', off='mmcv,mcv')


def test_replaces_a_broken_xtcocotools(run, tmp_path):
    package = tmp_path / 'xtcocotools'
    package.mkdir()
    for name in ('__init__', '_mask', 'coco'):
        (package / f'{name}.py'
         ).write_text('raise ValueError("numpy.dtype size changed")' if name ==
                      '_mask' else '')
    assert run('import lgm_pose_plugin; from xtcocotools.coco import COCO;'
               'print(COCO.loadRes.__doc__.split(".")[0])') == (
                   'Load results of these images')


def test_is_imported_without_torch_and_numpy(run):
    assert run('import lgm_pose_plugin; import lgm_pose_plugin.compat;'
               'print({"torch", "numpy", "mmengine"} & set(sys.modules))') == (
                   'set()')


def test_is_announced_once(caplog, monkeypatch):
    monkeypatch.setattr(compat, '_announced', set())
    with caplog.at_level('INFO', 'lgm_pose_plugin.compat'):
        compat._announce('mmcv')
        compat._announce('mmcv')
    assert caplog.messages == [
        "torchvision computes mmcv's operators, which are not compiled "
        '(LGM_POSE_COMPAT_OFF=mmcv switches this off)'
    ]


# pkg_resources


def test_distributions_are_those_of_pkg_resources():
    pkg_resources = pytest.importorskip('pkg_resources')
    for name in ('numpy', 'mmpose', 'mmengine', 'MMDet'):
        found = compat_pkg_resources.get_distribution(name)
        wanted = pkg_resources.get_distribution(name)
        assert found.project_name == wanted.project_name
        assert found.version == wanted.version
        assert found.location == wanted.location
        for file in ('top_level.txt', 'METADATA', 'none.txt'):
            assert found.has_metadata(file) == wanted.has_metadata(file)
            if found.has_metadata(file):
                assert found.get_metadata(file) == wanted.get_metadata(file)
    with pytest.raises(FileNotFoundError, match='MMDet|mmdet'):
        found.get_metadata('none.txt')


def test_what_is_not_installed_is_not_found():
    with pytest.raises(compat_pkg_resources.DistributionNotFound):
        compat_pkg_resources.get_distribution('no-such-package')


def test_working_set_and_versions():
    names = [x.project_name for x in compat_pkg_resources.working_set]
    assert {'mmpose', 'mmengine'} <= set(names)
    parse = compat_pkg_resources.parse_version
    assert sorted(['1.10', '1.9', '1.9rc1'], key=parse)[-1] == '1.10'


# Drawing


@pytest.mark.filterwarnings('error:Conversion of an array')  # NumPy < 2.4
@pytest.mark.parametrize('radius', [np.array([3]), torch.tensor([3]), 3])
def test_opencv_draws_circles(monkeypatch, radius):
    monkeypatch.setattr(OpencvBackendVisualizer, 'draw_circles',
                        OpencvBackendVisualizer.draw_circles)
    drawing.accept_array_as_radius()
    visualizer = PoseLocalVisualizer()
    image = np.zeros((20, 20, 3), np.uint8)
    visualizer.set_image(image)
    visualizer.draw_circles(
        np.array([9., 8.]), radius=radius, face_colors=(255, 0, 0))
    expected = cv2.circle(image.copy(), (9, 8), 3, (255, 0, 0), -1)
    assert np.array_equal(visualizer.get_image(), expected)


def test_matplotlib_draws_circles(monkeypatch):
    monkeypatch.setattr(OpencvBackendVisualizer, 'draw_circles',
                        OpencvBackendVisualizer.draw_circles)
    drawing.accept_array_as_radius()
    visualizer = PoseLocalVisualizer(backend='matplotlib')
    visualizer.set_image(np.zeros((20, 20, 3), np.uint8))
    visualizer.draw_circles(
        np.array([9., 8.]), radius=np.array([3]), face_colors=(255, 0, 0))
    assert tuple(visualizer.get_image()[8, 9]) == (255, 0, 0)
