_base_ = [
    '../../../_base_/models/lapx.py',
    '../../../_base_/datasets/body17_256x192.py',
    '../../../_base_/schedules/1xb256-120e_body17.py'
]

# Half of the batch, by Adam's square root.
train_dataloader = dict(batch_size=128, num_workers=8)
optim_wrapper = dict(optimizer=dict(lr=2.8e-3))
auto_scale_lr = dict(base_batch_size=128)

model = dict(
    train_cfg=dict(compute_acc=False),
    backbone=dict(num_keypoints=17),
    head=dict(
        out_channels=17,
        loss=dict(_delete_=True, type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

# As in the 8xb64-210e recipe, in proportion.
custom_hooks = _base_.custom_hooks + [
    dict(type='NonLocalRampHook', begin=34, end=68, gamma=0.2)
]
find_unused_parameters = True
