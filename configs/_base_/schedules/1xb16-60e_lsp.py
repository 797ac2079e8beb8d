# AdamW: warmed up, steady, then down to zero in the last fifth, so that a run
# can be stopped and finished from any epoch of the steady part.
_base_ = '../default_runtime.py'

train_cfg = dict(max_epochs=60, val_interval=2)

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))

param_scheduler = [
    dict(type='LinearLR', begin=0, end=500, start_factor=0.01, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        begin=48,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

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
