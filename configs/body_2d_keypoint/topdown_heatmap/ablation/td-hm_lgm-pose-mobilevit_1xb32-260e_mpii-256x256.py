_base_ = [
    '../../../_base_/models/lgm-pose-mobilevit.py',
    '../../../_base_/datasets/mpii_256x256.py',
    '../../../_base_/schedules/1xb32-260e.py'
]

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=16, decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(save_best='PCK', rule='greater'))
