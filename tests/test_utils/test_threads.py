"""Stages of a pipeline that run at the same time."""
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lgm_pose_plugin.utils.threads import run_ahead


def counting(seen, closed):
    try:
        for i in range(10**9):
            seen.append(i)
            yield i
    finally:
        closed.append(threading.current_thread())


def test_runs_in_a_thread_some_items_ahead():
    seen, closed = [], []
    items = run_ahead(counting(seen, closed), 3)
    assert not seen
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    items.close()
    # Those that wait, and the one that found no room.
    assert len(seen) <= 5 + 3 + 1
    assert len(closed) == 1 and closed[0] is not threading.current_thread()
    assert closed[0] not in threading.enumerate()


def test_stages_end_with_the_last_one():
    seen, closed = [], []
    items = run_ahead(run_ahead(counting(seen, closed), 1), 1)
    assert next(items) == 0
    items.close()
    assert len(closed) == 1


def test_errors_are_raised_after_the_items_before():

    def items():
        yield 1
        raise KeyError('two')

    found = run_ahead(items(), 5)
    assert next(found) == 1
    with pytest.raises(KeyError, match='two'):
        next(found)


def test_all_items():
    assert list(run_ahead((i for i in range(100)), 2)) == list(range(100))
    assert not list(run_ahead((i for i in ()), 2))


def test_a_program_ends_whatever_is_left_open():
    script = """
from lgm_pose_plugin.utils.threads import run_ahead
items = run_ahead(run_ahead((i for i in range(10**9)), 3), 3)
print(next(items))
"""
    result = subprocess.run([sys.executable, '-c', script],
                            cwd=str(Path(__file__).resolve().parents[2]),
                            stdout=subprocess.PIPE,
                            timeout=300,
                            check=True)
    assert result.stdout.split() == [b'0']
