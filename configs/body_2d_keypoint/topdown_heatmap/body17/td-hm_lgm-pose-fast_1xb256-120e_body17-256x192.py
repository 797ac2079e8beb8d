# LGM-Pose-Fast with heat maps at 1/4, which learn from fewer samples than
# SimCC's vectors (docs/lsp_benchmark.md).
_base_ = [
    '../../../_base_/models/lgm-pose-fast.py',
    '../../../_base_/datasets/body17_256x192.py',
    '../../../_base_/schedules/1xb256-120e_body17.py'
]

train_dataloader = dict(batch_size=256, num_workers=8)

model = dict(
    train_cfg=dict(compute_acc=False),
    backbone=dict(input_size=_base_.codec.input_size),
    neck=dict(deconv_channels=(128, 128, 112)),
    head=dict(
        _delete_=True,
        type='LGMHead',
        in_channels=112,
        out_channels=17,
        loss=dict(type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(flip_mode='heatmap', shift_heatmap=False))
