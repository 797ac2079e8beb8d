_base_ = [
    '../../_base_/models/lgm-pose-fast.py',
    '../../_base_/datasets/body17_128x96_light.py',
    '../../_base_/schedules/1xb32-13e_body17.py'
]

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec))
