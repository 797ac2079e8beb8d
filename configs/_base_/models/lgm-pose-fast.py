# LGM-Pose-Fast: LGM-Pose's ideas for CPUs and int8, see
# docs/architecture.md. Whoever inherits this sets backbone.input_size,
# head.out_channels and head.decoder.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='MobileViM', arch='fast'),
    neck=dict(
        type='SFusionNeck',
        in_channels=(64, 64, 112, 112, 128),
        deconv_channels=(128, 128),
        deconv_kernel_size=1,
        fusion='dw1'),
    head=dict(
        type='LGMHead',
        in_channels=256,
        conv_out_channels=(112, ),
        conv_kernel_sizes=(1, ),
        final_layer=dict(type='deconv', kernel_size=2, stride=2),
        loss=dict(type='KeypointCrossEntropyLoss')),
    test_cfg=dict(shift_heatmap=False))
