# HRFormer-T (arXiv 2110.09408). Whoever inherits this sets head.out_channels
# and head.decoder.
_base_ = 'topdown.py'

model = dict(
    backbone=dict(
        type='HRFormer',
        extra=dict(
            drop_path_rate=0.,
            with_rpe=True,
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block='BOTTLENECK',
                num_blocks=(2, ),
                num_channels=(64, )),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block='HRFORMERBLOCK',
                num_blocks=(2, 2),
                num_channels=(18, 36),
                num_heads=(1, 2),
                mlp_ratios=(4, 4),
                window_sizes=(7, 7)),
            stage3=dict(
                num_modules=3,
                num_branches=3,
                block='HRFORMERBLOCK',
                num_blocks=(2, 2, 2),
                num_channels=(18, 36, 72),
                num_heads=(1, 2, 4),
                mlp_ratios=(4, 4, 4),
                window_sizes=(7, 7, 7)),
            stage4=dict(
                num_modules=2,
                num_branches=4,
                block='HRFORMERBLOCK',
                num_blocks=(2, 2, 2, 2),
                num_channels=(18, 36, 72, 144),
                num_heads=(1, 2, 4, 8),
                mlp_ratios=(4, 4, 4, 4),
                window_sizes=(7, 7, 7, 7)))),
    head=dict(
        type='LGMHead',
        in_channels=18,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)))
