import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS
from mmpose.testing import get_packed_inputs


class Recorder(Hook):

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        self.losses.append(outputs['loss'].item())


def train(model, work_dir, hooks):
    """Take two training steps; return the losses."""
    batch = get_packed_inputs(
        2, img_shape=(64, 64), input_size=(64, 64), heatmap_size=(16, 16))
    samples = [{key: batch[key][i] for key in batch} for i in range(2)]
    recorder = Recorder()
    runner = Runner(
        model,
        str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            dataset=samples * 2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=False, max_iters=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None, logger=None),
        custom_hooks=[recorder, *hooks],
        default_scope='mmpose',
        experiment_name=work_dir.name,
        log_level='ERROR')
    runner.train()
    return recorder.losses


def formats(model):
    return {
        parameter.is_contiguous(memory_format=torch.channels_last)
        for parameter in model.parameters() if parameter.dim() == 4
        and parameter.shape[1] > 1 and parameter.shape[2] > 1
    }


def test_training(build, tmp_path):
    models, losses = [], []
    for name, hooks in (('plain', []), ('channels_last',
                                        [dict(type='ChannelsLastHook')])):
        torch.manual_seed(0)
        models.append(build(model__backbone__input_size=(64, 64)))
        # Before the hook: random numbers follow the order in memory.
        models[-1].init_weights()
        (tmp_path / name).mkdir()
        losses.append(train(models[-1], tmp_path / name, hooks))
    assert formats(models[0]) == {False} and formats(models[1]) == {True}
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][0] != losses[0][1]
    first, second = (model.state_dict() for model in models)
    for key in first:
        torch.testing.assert_close(
            second[key], first[key], atol=1e-3, rtol=1e-3)


def test_in_configs(load_config, root):
    path, = (root / 'configs').rglob('*-overfit.py')
    hooks = load_config(path.stem).custom_hooks
    assert {'SyncBuffersHook',
            'ChannelsLastHook'} == {hook.type
                                    for hook in hooks}
    assert HOOKS.build(dict(type='ChannelsLastHook')) is not None
