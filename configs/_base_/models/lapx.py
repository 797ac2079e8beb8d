# LAPX (arXiv 2512.16089). Whoever inherits this sets backbone.num_keypoints,
# head.out_channels and head.decoder.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='LAPX'),
    head=dict(
        type='LAPXHead',
        num_stages=3,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)))
