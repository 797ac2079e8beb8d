# At a steady learning rate; td-hm_lgm-pose_1xb16-18e_body17-128x96.py brings
# it down. From other weights of LGM-Pose:
# `--cfg-options load_from=CHECKPOINT`.
_base_ = [
    '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/body17_128x96.py',
    '../../../_base_/schedules/1xb256-120e_body17.py'
]

train_cfg = dict(max_epochs=5, val_interval=2)

train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=16)
param_scheduler = _base_.param_scheduler[:1]

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(
        out_channels=17,
        loss=dict(_delete_=True, type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))

custom_hooks = _base_.custom_hooks
custom_hooks[1].update(momentum=0.0005)
