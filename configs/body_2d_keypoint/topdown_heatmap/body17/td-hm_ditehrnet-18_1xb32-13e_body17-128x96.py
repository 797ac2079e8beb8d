_base_ = 'td-hm_lgm-pose_1xb32-13e_body17-128x96.py'

model = dict(
    backbone=dict(_delete_=True, type='DiteHRNet', depth=18),
    neck=None,
    head=dict(type='HeatmapHead', in_channels=40, deconv_out_channels=None))
