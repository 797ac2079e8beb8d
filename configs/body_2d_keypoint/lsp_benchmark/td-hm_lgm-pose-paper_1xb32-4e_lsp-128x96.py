# The paper's recipe with as many samples: mean squared error, Adam, 1e-3 and
# its steps in proportion, batch 32, MMPose's augmentation.
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

train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=1e-3), paramwise_cfg=None)

# At 200 and 240 of 260 epochs; there are 740 iterations.
param_scheduler = [
    dict(type='MultiStepLR', milestones=[569, 683], gamma=0.1, by_epoch=False)
]

auto_scale_lr = dict(base_batch_size=32)
