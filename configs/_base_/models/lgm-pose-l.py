# Design L of LGM-Pose: another reading of the paper that fits its counts as
# well. Wider and with less expansion, one skip map per level.
_base_ = 'lgm-pose.py'

model = dict(
    backbone=dict(arch='l'),
    neck=dict(
        in_channels=(96, 96, 96),
        deconv_channels=(160, 128, 96),
        skips=((1, ), (0, ))),
    head=dict(in_channels=96))
