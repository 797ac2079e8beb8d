# What `lgm-pose demo` trains: not a model to use, but a short training that
# learns. What counts is the number of steps, so the batches are small. AP
# after one epoch of 4,000 people, one run each, one person per image:
# batch size 8: 0.02, 4: 0.06; the latter with sigma 2: 0.02, with a learning
# rate of 4e-3 instead of 2e-3: 0.07.
_base_ = [
    '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/rendered_128x96.py',
    '../../../_base_/schedules/adamw_cosine.py'
]

train_cfg = dict(max_epochs=2, val_interval=1)

param_scheduler = [
    dict(type='LinearLR', begin=0, end=100, start_factor=0.01, by_epoch=False),
    _base_.param_scheduler[1]
]

train_dataloader = dict(batch_size=4)

auto_scale_lr = dict(base_batch_size=4)

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

randomness = dict(seed=0)
