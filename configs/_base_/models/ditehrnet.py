# Dite-HRNet-18 (arXiv 2204.10762). Whoever inherits this sets
# head.out_channels and head.decoder, and backbone.depth for Dite-HRNet-30.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='DiteHRNet', depth=18),
    head=dict(
        type='HeatmapHead',
        in_channels=40,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)))
