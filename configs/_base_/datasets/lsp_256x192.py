# Leeds Sports Pose Extended as `lgm-pose convert-lsp` writes it, top-down,
# 256x192 (HxW), with ground-truth boxes. For LSP itself, set the ann_file of
# the data loaders and of the second evaluator to lsp_train.json and
# lsp_val.json. Broken pictures and annotations stop the run, with
# on_bad='skip' in a data set they are left out (docs/robustness.md).
codec = dict(
    type='SoftmaxUDPHeatmap',
    input_size=(192, 256),
    heatmap_size=(48, 64),
    sigma=2)

dataset_type = 'LspDataset'
data_mode = 'topdown'
data_root = 'data/lsp/'

# MMPose's stronger augmentation learns slower, and these people lie and hang
# in any direction without it.
train_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(
        type='RandomBBoxTransform',
        shift_prob=0.,
        rotate_factor=30.,
        scale_factor=(0.8, 1.2)),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
    dict(type='PackPoseInputs')
]

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    # So that EpochSeedHook can seed them at each epoch.
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/lspet_train.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline,
    ))
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/lspet_val.json',
        data_prefix=dict(img='images/'),
        test_mode=True,
        pipeline=val_pipeline,
    ))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='LspPCKAccuracy'),
    dict(type='CocoMetric', ann_file=data_root + 'annotations/lspet_val.json')
]
test_evaluator = val_evaluator
