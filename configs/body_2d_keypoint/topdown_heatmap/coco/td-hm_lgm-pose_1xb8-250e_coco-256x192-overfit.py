# A check of the whole chain, not a model to use: train on a few COCO images
# and test on the same images. See docs/real_data.md.
_base_ = [
    '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/coco_256x192-overfit.py',
    '../../../_base_/schedules/1xb8-250e_overfit.py'
]

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec))
