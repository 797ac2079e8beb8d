# Table 4 of LGM-Pose: MobileViT's blocks in place of MobileViM's.
_base_ = 'lgm-pose.py'

model = dict(
    backbone=dict(layers=[
        dict(type='MV2', out_channels=32),
        dict(type='MV2', out_channels=48, stride=2),
        dict(type='MV2', out_channels=48, num_blocks=2),
        dict(type='MV2', out_channels=64, stride=2),
        dict(type='MobileViTBlock', embed_dims=96, patch_size=2, num_layers=2),
        dict(type='MV2', out_channels=80, stride=2),
        dict(
            type='MobileViTBlock', embed_dims=120, patch_size=2, num_layers=4),
        dict(type='MV2', out_channels=96, stride=2),
        dict(
            type='MobileViTBlock', embed_dims=144, patch_size=2, num_layers=3),
    ]))
