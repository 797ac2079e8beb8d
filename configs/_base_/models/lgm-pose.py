# LGM-Pose, design A (arXiv 2506.04561). Whoever inherits this sets
# backbone.input_size, head.out_channels and head.decoder.
custom_imports = dict(imports=['lgm_pose_plugin'], allow_failed_imports=False)

model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(type='MobileViM'),
    neck=dict(type='SFusionNeck', in_channels=(64, 64, 80, 80, 96)),
    head=dict(
        type='LGMHead',
        in_channels=112,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)),
    test_cfg=dict(
        flip_test=True,
        flip_mode='heatmap',
        shift_heatmap=True,
    ))
