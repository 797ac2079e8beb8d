# A few COCO images to train and to test on, 256x192 (HxW), ground-truth boxes.
# See docs/real_data.md.
_base_ = 'coco_256x192.py'

# Augmentation is weaker than usual, so that it converges in an hour.
train_pipeline = [
    dict(type='LoadCheckedImage'),
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
