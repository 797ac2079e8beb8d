# The recipe of docs/body17_benchmark.md: every network from random weights.
_base_ = '1xb256-120e_body17.py'

train_cfg = dict(max_epochs=13, val_interval=3)

auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(
        type='LinearLR',
        begin=0,
        end=13,
        start_factor=1.,
        end_factor=0.,
        by_epoch=True,
        convert_to_iter_based=True)
]

default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))
custom_hooks = _base_.custom_hooks
custom_hooks[1].update(gamma=100)

randomness = dict(seed=0)
