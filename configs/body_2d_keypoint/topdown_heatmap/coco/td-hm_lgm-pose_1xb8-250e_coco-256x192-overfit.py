# A check of the whole chain, not a model to use: train on a few COCO images
# and test on the same images. See docs/real_data.md.
_base_ = 'td-hm_lgm-pose_1xb32-260e_coco-256x192.py'

train_cfg = dict(max_epochs=250, val_interval=25)

# Three times the paper's learning rate, and a warm-up: it learns faster here.
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=250,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

# Augmentation is weaker than the paper's, so that it converges in an hour.
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody', prob=0.05),
    dict(
        type='RandomBBoxTransform',
        shift_factor=0.05,
        scale_factor=(0.85, 1.15),
        rotate_factor=15),
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

val_evaluator = dict(ann_file=_base_.data_root +
                     'annotations/person_keypoints_train2017.json')
test_evaluator = val_evaluator

default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=25, max_keep_ckpts=2))
