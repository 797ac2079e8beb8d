# MMPose's RTMPose-t. Whoever inherits this sets the head's out_channels,
# input_size, in_featuremap_size (input_size / 32), simcc_split_ratio and
# decoder.
_base_ = 'lgm-pose-fast-simcc.py'

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
        final_layer_kernel_size=7,
        gau_cfg=dict(hidden_dims=256, s=128, act_fn='SiLU')))
