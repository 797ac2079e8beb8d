# Without LARM.
_base_ = 'td-hm_lgm-pose_1xb8-4e_lsp-128x96.py'

model = dict(
    backbone=dict(layers=[
        dict(type='MV2', out_channels=32),
        dict(type='MV2', out_channels=48, stride=2),
        dict(type='MV2', out_channels=48, num_blocks=2),
        dict(type='MV2', out_channels=64, stride=2),
        dict(type='MobileViMBlock', embed_dims=96, patch_size=None),
        dict(type='MV2', out_channels=80, stride=2),
        dict(type='MobileViMBlock', embed_dims=120, patch_size=None),
        dict(type='MV2', out_channels=96, stride=2),
        dict(type='MobileViMBlock', embed_dims=144, patch_size=None),
    ]))
