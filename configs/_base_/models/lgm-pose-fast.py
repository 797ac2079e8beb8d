# LGM-Pose-Fast: LGM-Pose's ideas for CPUs and int8, see
# docs/architecture.md. Whoever inherits this sets backbone.input_size and the
# head's out_channels, input_size, in_featuremap_size (input_size / 8),
# simcc_split_ratio and decoder.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(type='MobileViM', arch='fast'),
    neck=dict(
        type='SFusionNeck',
        in_channels=(64, 64, 112, 112, 128),
        deconv_channels=(128, 128),
        deconv_kernel_size=1,
        fusion='dw1'),
    head=dict(
        type='RTMCCHead',
        in_channels=256,
        gau_cfg=dict(
            hidden_dims=128,
            s=64,
            expansion_factor=2,
            dropout_rate=0.,
            drop_path=0.,
            act_fn='ReLU',
            use_rel_bias=False,
            pos_enc=False),
        loss=dict(
            type='KLDiscretLoss',
            use_target_weight=True,
            beta=10.,
            label_softmax=True)),
    test_cfg=dict(_delete_=True, flip_test=True))
