_base_ = [
    '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/coco_256x192.py',
    '../../../_base_/schedules/1xb32-260e.py'
]

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(save_best='coco/AP', rule='greater'))
