# A check of the whole chain, not a model to use: train on a few COCO images
# and test on the same images. See docs/real_data.md.
_base_ = 'td-hm_lgm-pose_1xb32-260e_coco-256x192.py'

train_cfg = dict(max_epochs=300, val_interval=25)

param_scheduler = [
    dict(
        type='LinearLR', begin=0, end=100, start_factor=0.01, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=300,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

# The paper's augmentation at half its strength.
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody', prob=0.15),
    dict(
        type='RandomBBoxTransform',
        shift_factor=0.08,
        scale_factor=(0.75, 1.25),
        rotate_factor=40),
    dict(type='TopdownAffine', input_size=_base_.codec.input_size),
    dict(type='GenerateTarget', encoder=_base_.codec),
    dict(type='PackPoseInputs')
]

train_dataloader = dict(
    batch_size=8, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        ann_file='annotations/person_keypoints_train2017.json',
        bbox_file=None,
        data_prefix=dict(img='train2017/')))
test_dataloader = val_dataloader

val_evaluator = dict(
    ann_file=_base_.data_root + 'annotations/person_keypoints_train2017.json')
test_evaluator = val_evaluator

default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=25, max_keep_ckpts=2))
custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='ChannelsLastHook', priority='VERY_HIGH')
]
