# Steady after the warm-up, then down in the last fifth.
_base_ = 'adamw_cosine.py'

train_cfg = dict(max_epochs=60, val_interval=2)

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(begin=48)

auto_scale_lr = dict(base_batch_size=16)

default_hooks = dict(
    checkpoint=dict(
        interval=2, max_keep_ckpts=2, save_best='lsp/PCK', rule='greater'))

custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.001,
        update_buffers=True,
        priority=49)
]
