import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from lgm_pose_plugin.engine.hooks import EpochSeedHook, epoch_seed_hook


class Noise(torch.utils.data.Dataset):
    """Random numbers of the three generators."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.tensor(
            [random.random(),
             np.random.rand(),
             torch.rand(()).item()])


@pytest.fixture
def draw(logged):
    """The numbers of an epoch, in a process that starts with it."""

    def draw(epoch, seed=3, num_workers=0, persistent_workers=False):
        loader = Runner.build_dataloader(
            dict(
                dataset=Noise(),
                batch_size=2,
                num_workers=num_workers,
                persistent_workers=persistent_workers,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='default_collate')),
            seed=0)
        runner = SimpleNamespace(
            seed=seed,
            epoch=epoch,
            train_dataloader=loader,
            logger=SimpleNamespace(warning=logged.append))
        hook = EpochSeedHook()
        hook.before_train(runner)
        hook.before_train_epoch(runner)
        assert loader.sampler.seed == seed
        return torch.cat(list(loader))

    return draw


@pytest.mark.promise('random-numbers')
@pytest.mark.parametrize('num_workers', [0, 2])
def test_numbers_depend_on_seed_and_epoch(draw, num_workers, monkeypatch):
    first = draw(1, num_workers=num_workers)
    torch.rand(5), np.random.rand(5), random.random()
    assert torch.equal(draw(1, num_workers=num_workers), first)
    assert len(first.unique()) == first.numel()  # workers differ
    others = [
        draw(2, num_workers=num_workers),
        draw(1, seed=4, num_workers=num_workers)
    ]
    monkeypatch.setattr(epoch_seed_hook, 'get_rank', lambda: 1)
    others.append(draw(1, num_workers=num_workers))
    for other in others:
        assert not torch.isin(other, first).any()


def test_persistent_workers_are_warned_of(draw, logged):
    draw(1, num_workers=1)
    assert not logged
    draw(1, num_workers=1, persistent_workers=True)
    assert 'train_dataloader.persistent_workers=True' in logged[0]


def greet(worker_id, word):
    """A worker_init_fn of a config."""


@pytest.mark.promise('random-numbers')
def test_own_worker_init_fn_is_kept(logged):
    loader = Runner.build_dataloader(
        dict(
            dataset=Noise(),
            batch_size=2,
            num_workers=1,
            sampler=dict(type='DefaultSampler', shuffle=True),
            worker_init_fn=dict(type=greet, word='hello')),
        seed=0)
    own = loader.worker_init_fn
    EpochSeedHook().before_train(
        SimpleNamespace(
            seed=7,
            train_dataloader=loader,
            logger=SimpleNamespace(warning=logged.append)))
    assert loader.worker_init_fn is own and own.func is greet
    warning, = logged
    assert 'train_dataloader.worker_init_fn is kept' in warning


def test_sampler_in_a_batch_sampler():
    sampler = DefaultSampler(Noise(), seed=0)
    loader = torch.utils.data.DataLoader(
        Noise(),
        batch_sampler=torch.utils.data.BatchSampler(sampler, 2, False))
    EpochSeedHook().before_train(
        SimpleNamespace(seed=7, train_dataloader=loader))
    assert sampler.seed == 7


def test_registered():
    assert type(HOOKS.build(dict(type='EpochSeedHook'))) is EpochSeedHook


def sampler_seed(rank):
    """What the hook gives a rank that has a seed of its own."""
    loader = Runner.build_dataloader(
        dict(
            dataset=list(range(4)),
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate')),
        seed=0)
    EpochSeedHook().before_train(
        SimpleNamespace(seed=3 + rank, train_dataloader=loader))
    return loader.sampler.seed


def test_ranks_shuffle_alike(in_two_processes):
    """Also with randomness.diff_rank_seed."""
    assert in_two_processes(sampler_seed) == [3, 3]
