_base_ = [
    '../../_base_/models/lapx.py', '../../_base_/datasets/lsp_128x96.py',
    '../../_base_/schedules/1xb8-4e_lsp.py'
]

train_dataloader = dict(batch_size=8)

model = dict(
    backbone=dict(num_keypoints=14),
    head=dict(
        out_channels=14,
        loss=dict(_delete_=True, type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

# As in the other recipes, in proportion.
custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='NonLocalRampHook', begin=1, end=2, gamma=0.2)
]
find_unused_parameters = True
