# LGM-Pose, design A (arXiv 2506.04561). Whoever inherits this sets
# backbone.input_size, head.out_channels and head.decoder.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='MobileViM'),
    neck=dict(type='SFusionNeck', in_channels=(64, 64, 80, 80, 96)),
    head=dict(
        type='LGMHead',
        in_channels=112,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)))
