# What `lgm-pose demo` trains: not a model to use, but a short training that
# learns. What counts is the number of steps, so the batches are small. AP
# after one epoch of 4,000 people, one run each, one person per image:
# batch size 8: 0.02, 4: 0.06; the latter with sigma 2: 0.02, with a learning
# rate of 4e-3 instead of 2e-3: 0.07.
_base_ = [
    'mmpose::_base_/default_runtime.py', '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/rendered_128x96.py'
]

train_cfg = dict(max_epochs=2, val_interval=1)

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01))

param_scheduler = [
    dict(type='LinearLR', begin=0, end=100, start_factor=0.01, by_epoch=False),
    # To the last epoch, whatever train_cfg.max_epochs says.
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

train_dataloader = dict(batch_size=4)

default_hooks = dict(
    invalid_loss=dict(type='InvalidLossHook'),
    skipped_data=dict(type='SkippedDataHook'))

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

randomness = dict(seed=0)
