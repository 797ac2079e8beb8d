_base_ = [
    '../../../_base_/models/lgm-pose-fast.py',
    '../../../_base_/datasets/coco_256x192_softmax.py',
    '../../../_base_/schedules/8xb64-210e_plus.py'
]

train_dataloader = dict(batch_size=64)

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(save_best='coco/AP', rule='greater'))
