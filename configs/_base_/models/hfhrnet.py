# HF-HRNet-18 (doi 10.1109/TCSVT.2024.3377365). Whoever inherits this sets
# head.out_channels and head.decoder, and backbone.depth for HF-HRNet-30.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='HFHRNet', depth=18),
    head=dict(
        type='HeatmapHead',
        in_channels=48,
        deconv_out_channels=None,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)))
