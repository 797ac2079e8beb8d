# Design B of LGM-Pose: another reading of the paper that fits its counts as
# well. One skip map per level, and a 1x1 convolution after each fusion.
_base_ = 'lgm-pose.py'

model = dict(
    backbone=dict(arch='b'),
    neck=dict(
        in_channels=(64, 80, 128),
        deconv_channels=(176, 176, 176),
        deconv_kernel_size=2,
        skips=((1, ), (0, )),
        pointwise=True),
    head=dict(in_channels=176))
