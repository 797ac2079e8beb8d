# LPN-50 (arXiv 1911.10346). Whoever inherits this sets head.out_channels and
# head.decoder.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='LPN', depth=50),
    neck=dict(type='LPNNeck', in_channels=512),
    head=dict(
        type='LGMHead',
        in_channels=256,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)))
