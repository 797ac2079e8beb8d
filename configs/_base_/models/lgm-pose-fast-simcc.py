# LGM-Pose-Fast with SimCC. Whoever inherits this sets backbone.input_size and
# the head's out_channels, input_size, in_featuremap_size (input_size / 8),
# simcc_split_ratio and decoder.
_base_ = 'lgm-pose-fast.py'

model = dict(
    head=dict(
        _delete_=True,
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
