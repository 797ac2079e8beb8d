# A check of the whole chain, not a model to use: train on a few COCO images
# and test on the same images. See docs/real_data.md.
_base_ = [
    '../../../_base_/models/lapx.py',
    '../../../_base_/datasets/coco_256x192-overfit.py',
    '../../../_base_/schedules/1xb8-250e_overfit.py'
]

# LAPX's steps take four times LGM-Pose's: more and smaller ones, fewer epochs.
train_cfg = dict(max_epochs=120, val_interval=20)
train_dataloader = dict(batch_size=4)
auto_scale_lr = dict(base_batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=120,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]
custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='NonLocalRampHook', begin=30, end=60, gamma=0.2)
]
find_unused_parameters = True

model = dict(
    backbone=dict(num_keypoints=17),
    head=dict(out_channels=17, decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(interval=10))
