# LAPX (arXiv 2512.16089). Whoever inherits this sets backbone.num_keypoints,
# head.out_channels and head.decoder.
custom_imports = dict(imports=['lgm_pose_plugin'], allow_failed_imports=False)

model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(type='LAPX'),
    head=dict(
        type='LAPXHead',
        num_stages=3,
        loss=dict(type='KeypointMSELoss', use_target_weight=True)),
    test_cfg=dict(
        flip_test=True,
        flip_mode='heatmap',
        shift_heatmap=True,
    ))
