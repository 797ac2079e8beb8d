# People are turned and scaled less, and seven in ten have COCO's labels.
_base_ = 'body17_128x96.py'

train_pipeline = _base_.train_pipeline
train_pipeline[2].update(prob=0.2)
train_pipeline[3].update(rotate_factor=30., scale_factor=(0.75, 1.25))

train_dataloader = dict(
    dataset=dict(sample_ratio_factor=[1, 0.05, 0.25], pipeline=train_pipeline))
