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
    head=dict(
        _delete_=True,
        type='LGMHead',
        in_channels=256,
        out_channels=17,
        conv_out_channels=(112, ),
        conv_kernel_sizes=(1, ),
        final_layer=dict(type='deconv', kernel_size=2, stride=2),
        loss=dict(type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(flip_mode='heatmap', shift_heatmap=False))
