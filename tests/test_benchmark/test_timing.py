"""Rounds and what times depend on."""
import pytest

from lgm_pose_plugin.benchmark import timing

pytestmark = pytest.mark.e2e


def test_rounds_before_the_others_are_not_counted():
    seconds = iter([9., 9.] + list(range(11)))
    timed = timing.time_interleaved({'a': lambda: next(seconds)}, 11)
    assert timed == {'a': list(range(11))}


@pytest.mark.parametrize('cores, load, busy',
                         [(2., 1.2, False), (2., 1.8, True), (8., 1.8, False),
                          (1., .3, False)])
def test_busy_machine(monkeypatch, cores, load, busy):
    monkeypatch.setattr(timing, 'available_cpus', lambda: cores)
    assert timing.describe_environment(load, 1, 10)['busy'] == busy
