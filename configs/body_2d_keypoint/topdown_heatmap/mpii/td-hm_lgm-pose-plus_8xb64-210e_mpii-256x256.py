# LGM-Pose by the recipe of docs/lsp_benchmark.md, but for the augmentation.
_base_ = [
    '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/mpii_256x256_softmax.py',
    '../../../_base_/schedules/8xb64-210e_plus.py'
]

train_dataloader = dict(batch_size=64)

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(
        out_channels=16,
        loss=dict(_delete_=True, type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

default_hooks = dict(checkpoint=dict(save_best='PCK', rule='greater'))
