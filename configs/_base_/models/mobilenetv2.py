# MMPose's MobileNetV2. Whoever inherits this sets head.out_channels and
# head.decoder.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='MobileNetV2', widen_factor=1., out_indices=(7, )),
    head=dict(
        type='HeatmapHead',
        in_channels=1280,
        loss=dict(type='KeypointCrossEntropyLoss')),
    test_cfg=dict(shift_heatmap=False))
