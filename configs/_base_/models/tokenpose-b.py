# TokenPose-B (arXiv 2104.03516). Whoever inherits this sets
# head.out_channels, head.in_featuremap_size and head.decoder.
_base_ = 'topdown.py'

# The first three stages of HRNet-W32, whose last returns the largest map
# alone. MMPose wants four stages, so that of four modules stands here as one
# of three and one of one.
three_branches = dict(
    num_branches=3,
    block='BASIC',
    num_blocks=(4, 4, 4),
    num_channels=(32, 64, 128))
model = dict(
    backbone=dict(
        type='HRNet',
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(4, ),
                num_channels=(64, )),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block='BASIC',
                num_blocks=(4, 4),
                num_channels=(32, 64)),
            stage3=dict(num_modules=3, **three_branches),
            stage4=dict(num_modules=1, **three_branches))),
    head=dict(
        type='TokenPoseHead',
        in_channels=32,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)))
