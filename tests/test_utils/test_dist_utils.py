from datetime import timedelta

import pytest
import torch
from mmengine.dist import init_dist, utils

from lgm_pose_plugin.utils.dist_utils import allow_processes_without_gpu


@pytest.fixture
def started(monkeypatch):
    """What torch is asked for, on a machine without a GPU."""
    calls = []

    def record(name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs))

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'set_device', record('device'))
    monkeypatch.setattr(torch.distributed, 'init_process_group',
                        record('group'))
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('LOCAL_RANK', '1')
    return calls


@pytest.mark.promise('gloo')
def test_gloo_asks_for_no_gpu(started):
    init_dist('pytorch', backend='gloo', timeout=5)
    assert started == [('group', ('gloo', ), dict(timeout=timedelta(0, 5)))]


def test_all_else_is_mmengine(started, monkeypatch):
    init_dist('pytorch')
    assert [name for name, *_ in started] == ['device', 'group']
    started.clear()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    init_dist('pytorch', backend='gloo')
    assert [name for name, *_ in started] == ['device', 'group']


def test_twice_is_once():
    once = utils._init_dist_pytorch
    allow_processes_without_gpu()
    assert utils._init_dist_pytorch is once
