# MMPose's MobileNetV2 from scratch.
_base_ = 'td-hm_lgm-pose_1xb8-4e_lsp-128x96.py'

model = dict(
    backbone=dict(
        _delete_=True, type='MobileNetV2', widen_factor=1., out_indices=(7, )),
    neck=None,
    head=dict(type='HeatmapHead', in_channels=1280))
