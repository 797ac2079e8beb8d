"""Every block of Python and bash in the documents runs, or says why not.

A block that cannot run here has a comment of its own right before it::

    <!-- not run: trains for hours; tests/test_end_to_end/test_mim.py -->

All others run in a folder that has what the pages name. bash runs them, but
these commands are recorded and then done in this process:

- ``lgm-pose`` runs, but for ``lgm-pose doctor``: tests/test_doctor.
- ``mim train`` and ``mim test`` read the config and take the options;
  tests/test_end_to_end/test_mim.py trains.
- ``pip install`` and ``make`` find the extras, files and targets they name.
- ``python -c`` runs.

A Python block that holds a config is read by MMEngine.
"""
import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.datasets.rendered.writer import write_dataset
from lgm_pose_plugin.model_index import published_weights

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r'^(?:(?P<mark>[^\n]*<!-- not run: [^\n]*-->)\n+)?'
    r'(?P<indent> *)```(?P<language>bash|python)\n(?P<code>.*?)^ *```',
    re.DOTALL | re.MULTILINE)
MARKED = [
    path for path in
    [*sorted(ROOT.glob('*.md')), *sorted((ROOT / 'docs').glob('*.md'))]
    if BLOCK.search(path.read_text())
]
COMMANDS = ('lgm-pose', 'mim', 'pip', 'make', 'python')
# Separators of the recorded commands and of their words.
RECORD = r"""#!/bin/sh
{ printf '%s\037' "${0##*/}" "$PWD" "$@"; printf '\036'; } >>"$COMMANDS"
"""


def blocks(page):
    """Language, code and mark of the blocks of a page, and what is before."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        code = re.sub(f'^{match["indent"]}', '', match['code'], 0,
                      re.MULTILINE)
        yield match['language'], code, match['mark'], text[:match.start()]


@pytest.fixture(scope='module')
def files(tmp_path_factory, network_files, detector_files):
    """A folder with what the pages name."""
    for package in ('onnx', 'onnxruntime', 'supervision', 'trackers'):
        pytest.importorskip(package)
    from lgm_pose_plugin.export.detector import export_detector
    folder = tmp_path_factory.mktemp('documents')
    image, _ = render_image(np.random.default_rng(0))
    places = ['.', 'people', 'photos', 'images', 'more']
    names = ['photo.jpg', 'person.jpg', 'people.jpg']
    for place, name in [('.', name)
                        for name in names] + [(place, f'{place}.jpg')
                                              for place in places[1:]]:
        (folder / place).mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / place / name), image)
    video = cv2.VideoWriter(
        str(folder / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 25,
        image.shape[1::-1])
    for _ in range(2):
        video.write(image)
    video.release()
    for split in ('train2017', 'val2017'):
        write_dataset(str(folder / 'data/coco'), 2, seed=0, split=split)
    config, checkpoint, exported = network_files
    for name in ('CONFIG.py', 'NAME.py',
                 'td-hm_lgm-pose_1xb32-260e_coco-256x192.py'):
        shutil.copy(config, folder / name)
    for name in ('CHECKPOINT.pth', 'epoch_260.pth'):
        shutil.copy(checkpoint, folder / name)
    shutil.copy(exported, folder / 'lgm-pose.onnx')
    (folder / 'work_dirs/mine').mkdir(parents=True)
    shutil.copy(
        published_weights('lgm-pose_body17-256x192'),
        folder / 'work_dirs/mine/epoch_5.pth')
    # Detectors of the model zoos, as if they had been downloaded.
    cache = folder / 'cache/lgm_pose_plugin'
    cache.mkdir(parents=True)
    export_detector(*detector_files, str(cache / 'auto.onnx'), samples=1)
    for name in (cache / 'rtmdet-m.onnx', folder / 'rtmdet.onnx',
                 folder / 'rtmdet_m.onnx'):
        shutil.copy(cache / 'auto.onnx', name)
    for name in ('weights', 'configs', 'requirements'):
        (folder / name).symlink_to(ROOT / name)
    (folder / 'bin').mkdir()
    for name in COMMANDS:
        path = folder / 'bin' / name
        path.write_text(RECORD)
        path.chmod(0o755)
    return folder


@pytest.fixture
def sandbox(files, tmp_path, monkeypatch):
    """A copy of the folder, in which a page's blocks run."""
    folder = tmp_path / 'page'
    shutil.copytree(files, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder / 'cache'))
    monkeypatch.setenv('COMMANDS', str(folder / 'commands'))
    monkeypatch.setenv('PATH', f'{folder / "bin"}{os.pathsep}'
                       f'{os.environ["PATH"]}')
    return folder


def read_config(name, options):
    """Read a config of ours or one that a page wrote, with options."""
    path = Path(name)
    if not path.is_file():
        path, = (ROOT / 'configs').rglob(path.name)
    cfg = Config.fromfile(str(path))
    for option in options:
        key, value = option.split('=', 1)
        first, *parts = key.split('.')[:-1] or [key]
        place = cfg[first] if first != 'model_wrapper_cfg' else None
        for part in parts:
            place = place[int(part) if part.isdigit() else part]
        cfg.merge_from_dict({key: value})


def do(command, words):
    """Do a recorded command."""
    if command == 'lgm-pose':
        assert words == ['doctor'] or main(words) == 0, words
    elif command == 'mim':
        assert words[0] in ('train', 'test'), f'mark the block: mim {words}'
        start = words.index('--cfg-options') if '--cfg-options' in words else 0
        options = [word for word in words[start:] if '=' in word]
        read_config(words[2], options if start else [])
    elif command == 'pip':
        assert words[0] == 'install', f'mark the block: pip {words}'
        project = (ROOT / 'pyproject.toml').read_text()
        for extra in re.findall(r'\.\[(\w+)\]', ' '.join(words)):
            assert f'\n{extra} = [' in project
        for option, word in zip(words, words[1:]):
            assert option != '-r' or (ROOT / word).is_file()
    elif command == 'make':
        targets = (ROOT / 'Makefile').read_text()
        assert re.search(f'^{words[0]}:', targets, re.MULTILINE)
    else:
        assert words[0] == '-c', f'mark the block: python {words}'
        exec(words[1], {})


def run_bash(code):
    """Run a block, then do the commands that it called."""
    code = re.sub(r'\bCONFIG\b(?!\.)', 'CONFIG.py', code)
    code = re.sub(r'\bCHECKPOINT\b(?!\.)', 'CHECKPOINT.pth', code)
    commands = Path(os.environ['COMMANDS'])
    commands.write_text('')
    run = subprocess.run(['bash', '-e', '-c', code],
                         stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    assert run.returncode == 0, run.stdout.decode()
    for record in commands.read_text().split('\036')[:-1]:
        command, folder, *words = record.split('\037')[:-1]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            do(command, words)


def run_python(code, names, before):
    """Run a block with the names of those before, or read it as a config."""
    statements = ast.parse(code).body
    assigned = [
        target.id for node in statements if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    ]
    if '_base_' not in assigned:
        return exec(code, names)
    # By the name that the page gives it.
    named = re.findall(r'`(\w+\.py)`', before) or ['config.py']
    Path(named[-1]).write_text(code)
    cfg = Config.fromfile(named[-1])
    import_modules_from_strings(**cfg.custom_imports)


@pytest.mark.e2e
@pytest.mark.parametrize(
    'page', MARKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks(page, sandbox):
    names = {}
    for language, code, mark, before in blocks(page):
        if mark:
            continue
        if language == 'bash':
            run_bash(code)
        else:
            run_python(code, names, before)
    if page.name == 'README.md':
        assert names['result'].keypoints.shape[1:] == (17, 2)


@pytest.mark.parametrize(
    'page', MARKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_marks(page):
    """A test that a mark names as the one that runs the block exists."""
    for _, _, mark, _ in blocks(page):
        for name in re.findall(r'\btests/[\w/.]+', mark or ''):
            assert (ROOT / name).exists(), name
