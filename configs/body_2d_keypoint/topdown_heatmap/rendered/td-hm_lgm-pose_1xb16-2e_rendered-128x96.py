# What `lgm-pose demo` trains: the shortest training that learns something.
_base_ = [
    'mmpose::_base_/default_runtime.py', '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/rendered_128x96.py'
]

train_cfg = dict(max_epochs=2, val_interval=1)

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01))

param_scheduler = [
    dict(type='LinearLR', begin=0, end=50, start_factor=0.01, by_epoch=False),
    # To the last epoch, whatever train_cfg.max_epochs says.
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

default_hooks = dict(logger=dict(interval=20))
custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='ChannelsLastHook', priority='VERY_HIGH')
]
randomness = dict(seed=0)
