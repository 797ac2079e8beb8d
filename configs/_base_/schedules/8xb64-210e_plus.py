# For long trainings: with averaged weights.
_base_ = 'adamw_cosine.py'

train_cfg = dict(max_epochs=210, val_interval=10)

auto_scale_lr = dict(base_batch_size=512)

custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        update_buffers=True,
        priority=49)
]
