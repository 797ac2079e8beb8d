# The augmentation of MMPose's and the paper's COCO configs: half bodies,
# scales of 0.5 to 1.5, turns of up to 80 degrees.
_base_ = 'td-hm_lgm-pose-mse_1xb8-4e_lsp-128x96.py'

train_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    dict(type='RandomBBoxTransform'),
    dict(
        type='TopdownAffine', input_size=_base_.codec.input_size,
        use_udp=True),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs')
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
