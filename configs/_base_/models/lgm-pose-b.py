# Design B of LGM-Pose: another reading of the paper that fits its counts as
# well. One skip map per level, and a 1x1 convolution after each fusion.
_base_ = 'lgm-pose.py'

model = dict(
    backbone=dict(
        layers=[
            dict(type='MV2', out_channels=32),
            dict(type='MV2', out_channels=48, stride=2),
            dict(type='MV2', out_channels=48, num_blocks=2),
            dict(type='MV2', out_channels=64, stride=2),
            dict(
                type='MobileViMBlock',
                embed_dims=96,
                patch_size=4,
                mlp_ratios=(2, 4)),
            dict(type='MV2', out_channels=80, stride=2),
            dict(
                type='MobileViMBlock',
                embed_dims=120,
                patch_size=2,
                mlp_ratios=(2, 4)),
            dict(type='MV2', out_channels=96, stride=2),
            dict(
                type='MobileViMBlock',
                embed_dims=144,
                patch_size=2,
                mlp_ratios=(2, 4)),
            dict(type='ConvModule', out_channels=128, kernel_size=1),
        ],
        out_indices=(5, 7, 10)),
    neck=dict(
        in_channels=(64, 80, 128),
        deconv_channels=(176, 176, 176),
        deconv_kernel_size=2,
        skips=((1, ), (0, )),
        pointwise=True),
    head=dict(in_channels=176))
