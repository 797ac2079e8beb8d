_base_ = [
    '../../_base_/models/lap.py', '../../_base_/datasets/lsp_128x96.py',
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
