# LGM-Pose-Fast with heat maps at 1/4, in place of SimCC at 1/8.
_base_ = [
    '../../_base_/models/lgm-pose-fast.py',
    '../../_base_/datasets/lsp_128x96.py',
    '../../_base_/schedules/1xb8-4e_lsp.py'
]

train_dataloader = dict(batch_size=8)

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(
        _delete_=True,
        type='LGMHead',
        in_channels=256,
        out_channels=14,
        conv_out_channels=(112, ),
        conv_kernel_sizes=(1, ),
        final_layer=dict(type='deconv', kernel_size=2, stride=2),
        loss=dict(type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(flip_mode='heatmap', shift_heatmap=False))
