# MMPose's RTMPose-t from scratch.
_base_ = 'simcc_lgm-pose-fast_1xb8-4e_lsp-128x96.py'

model = dict(
    backbone=dict(
        _delete_=True,
        _scope_='mmdet',
        type='CSPNeXt',
        arch='P5',
        expand_ratio=0.5,
        deepen_factor=0.167,
        widen_factor=0.375,
        out_indices=(4, ),
        channel_attention=True,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='SiLU')),
    neck=None,
    head=dict(
        in_channels=384,
        in_featuremap_size=(3, 4),
        final_layer_kernel_size=7,
        gau_cfg=dict(hidden_dims=256, s=128, act_fn='SiLU')))
