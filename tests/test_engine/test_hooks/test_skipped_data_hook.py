"""The list of what was skipped; trainings are in test_dirty_data.py."""
import json
import math
from types import SimpleNamespace

import pytest
from mmpose.structures import PoseDataSample

from lgm_pose_plugin.engine.hooks import SkippedDataHook, skipped_data_hook


def record(number, reason='broken'):
    return dict(image=f'{number:03}.jpg', annotation=number, reason=reason)


def batch(*records):
    """A batch whose second sample came after the skipping of others."""
    samples = [PoseDataSample(), PoseDataSample()]
    if records:
        samples[1].set_metainfo(dict(skipped=list(records)))
    return dict(inputs=[0, 0], data_samples=samples)


class Logger:
    """Not logging's: other tests silence what is common to all of those."""

    def __init__(self):
        self.messages = []

    def warning(self, message):
        self.messages.append(message)


def make_runner(folder, dataset):
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    return SimpleNamespace(
        log_dir=str(folder),
        train_loop=loop,
        val_loop=loop,
        test_loop=loop,
        logger=Logger())


def written(folder, mode):
    path = folder / f'skipped_{mode}.json'
    return json.loads(path.read_text()) if path.exists() else None


@pytest.mark.promise('skipped-lists')
@pytest.mark.parametrize('mode', ['train', 'val', 'test'])
def test_lists_once_and_within_wrappers(mode, tmp_path, monkeypatch):
    monkeypatch.setattr(skipped_data_hook, 'MAX_LOGGED', 2)
    inner = SimpleNamespace(skipped=[record(1, 'NaN')])
    dataset = SimpleNamespace(datasets=[
        SimpleNamespace(dataset=inner),
        SimpleNamespace(skipped=[record(7)]),
        SimpleNamespace()
    ])
    runner, hook = make_runner(tmp_path, dataset), SkippedDataHook()
    for data_batch in (batch(record(5),
                             record(3)), batch(), batch(record(3)), [1,
                                                                     2], None):
        getattr(hook, f'after_{mode}_iter')(runner, 0, data_batch, None)
    getattr(hook, f'after_{mode}_epoch')(runner)
    assert written(
        tmp_path, mode) == [record(1, 'NaN'),
                            record(3),
                            record(5),
                            record(7)]
    message = runner.logger.messages[-1]
    assert message.startswith(f'annotations skipped in {mode}: 4, see ')
    assert '001.jpg, annotation 1: NaN' in message and '005' not in message
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_skipped_nothing_said(tmp_path):
    runner, hook = make_runner(tmp_path, object()), SkippedDataHook()
    hook.after_train_iter(runner, 0, batch(), {})
    hook.after_train_epoch(runner)
    assert not list(tmp_path.iterdir()) and not runner.logger.messages


def skip_on_a_rank(rank, folder):
    runner, hook = make_runner(folder, object()), SkippedDataHook()
    hook.after_val_iter(runner, 0, batch(record(9), record(rank)), [])
    hook.after_val_epoch(runner)


@pytest.mark.promise('skipped-lists')
def test_all_ranks_are_in_the_list(in_two_processes, tmp_path):
    in_two_processes(skip_on_a_rank, tmp_path)
    assert written(tmp_path, 'val') == [record(0), record(1), record(9)]


@pytest.mark.parametrize('mode', ['val', 'test'])
@pytest.mark.parametrize('skipped', [False, True])
def test_mean_errors_are_withdrawn(tmp_path, mode, skipped):
    """How far a missed person is, is arbitrary."""
    runner = make_runner(tmp_path, SimpleNamespace())
    hook, metrics = SkippedDataHook(), dict(EPE=3., AUC=.5)
    metrics['mine/NME'] = .1
    after_iter = getattr(hook, f'after_{mode}_iter')
    after_iter(runner, 0, batch(*[record(5)] * skipped), None)
    getattr(hook, f'after_{mode}_epoch')(runner, metrics)
    assert metrics['AUC'] == .5
    assert math.isnan(metrics['EPE']) is skipped
    assert math.isnan(metrics['mine/NME']) is skipped
    told = [text for text in runner.logger.messages if 'EPE, mine/' in text]
    assert len(told) == skipped
