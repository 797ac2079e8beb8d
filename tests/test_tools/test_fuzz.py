"""tools/fuzz.py: broken pictures, videos, arrays, boxes and box files."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime')
pytest.importorskip('supervision')

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['nose', 'neck']


@pytest.fixture(scope='module')
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'tools'))
        import fuzz
        yield fuzz
    sys.modules.pop('fuzz', None)


@pytest.fixture
def fuzz(network_files):
    """Run the tool in a process of its own, which may crash or hang."""

    def run(*arguments):
        result = subprocess.run([
            sys.executable,
            str(ROOT / 'tools' / 'fuzz.py'), network_files[2], *arguments
        ],
                                env=dict(
                                    os.environ,
                                    PYTHONPATH=str(ROOT),
                                    OMP_NUM_THREADS='1'),
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE,
                                timeout=400)
        assert result.returncode == 0, (result.stdout[-3000:],
                                        result.stderr[-3000:])
        found = json.loads(result.stdout)
        assert found['failures'] == []
        return found['counts']

    return run


@pytest.mark.e2e
@pytest.mark.promise('fuzz')
def test_nothing_crashes_hangs_or_is_let_through(fuzz):
    """120 pictures, 120 arrays with boxes, 60 box files."""
    counts = fuzz('--calls', '300', '--kinds', 'array', 'picture', 'array',
                  'picture', 'box file')
    assert sum(counts.values()) == 300
    # Neither all refused nor all accepted.
    assert min(counts[f'{kind}: {result}']
               for kind, result in (('picture', 'refused'), ('picture',
                                                             'key points'),
                                    ('array', 'refused'), ('array',
                                                           'key points'))) > 25
    assert counts['box file: refused'] > 12 < counts['box file: boxes']


@pytest.mark.e2e
@pytest.mark.promise('fuzz')
def test_no_video_or_stream_crashes_or_hangs(fuzz):
    """100 that were damaged; a server sends each fourth, stalls or drops."""
    counts = fuzz('--calls', '100', '--kinds', 'video')
    assert sum(counts.values()) == 100
    assert min(counts.values()) > 12


class Network:
    """Stands in for a PoseRuntime; what it does is given."""
    metadata = dict(skeleton=[[0, 1]], keypoint_names=NAMES)

    def __init__(self, call):
        self.call = call

    def __call__(self, image, boxes):
        return self.call(len(boxes) if isinstance(boxes, np.ndarray) else 1)


def raising(error):

    def call(number):
        raise error

    return Network(call)


@pytest.mark.promise('fuzz')
@pytest.mark.parametrize(
    'network, message', [
        (Network(lambda n: (np.full((n, 2, 2), np.nan), np.ones((n, 2)))),
         'not finite'),
        (Network(lambda n: (np.ones((n, 2, 2)), np.full((n, 2), np.inf))),
         'not finite'),
        (raising(KeyError('x')), 'KeyError'),
        (raising(MemoryError()), 'MemoryError'),
        (Network(lambda n: (np.ones((n + 1, 2, 2)), np.ones((n + 1, 2)))),
         'people'),
    ],
    ids=['nan', 'inf', 'key', 'memory', 'number'])
def test_faults_are_found(tool, network, message):
    """By number, so that each can be repeated."""
    found = tool.run(network, range(6, 18))
    assert any(message in failure for failure in found['failures'])
    number = int(found['failures'][0].split(':')[0].split()[-1])
    again = tool.run(network, range(number, number + 1))
    assert again['failures'] == found['failures'][:1]


def test_refusals_are_no_faults(tool):
    found = tool.run(raising(ValueError('no')), range(20))
    assert not found['failures']
    assert found['counts']['array: refused'] == 7
    assert set(found['rss_mb']) == {0, 20}
