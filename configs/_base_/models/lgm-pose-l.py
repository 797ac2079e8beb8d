# Design L of LGM-Pose: another reading of the paper that fits its counts as
# well. Wider and with less expansion, one skip map per level.
_base_ = 'lgm-pose.py'

model = dict(
    backbone=dict(
        stem_channels=32,
        expand_ratio=2,
        layers=[
            dict(type='MV2', out_channels=32),
            dict(type='MV2', out_channels=64, stride=2),
            dict(type='MV2', out_channels=64, num_blocks=2),
            dict(type='MV2', out_channels=96, stride=2),
            dict(type='MobileViMBlock', embed_dims=128, patch_size=4),
            dict(type='MV2', out_channels=96, stride=2),
            dict(type='MobileViMBlock', embed_dims=192, patch_size=2),
            dict(type='MV2', out_channels=96, stride=2),
        ],
        out_indices=(5, 7, 8)),
    neck=dict(
        in_channels=(96, 96, 96),
        deconv_channels=(160, 128, 96),
        skips=((1, ), (0, ))),
    head=dict(in_channels=96))
