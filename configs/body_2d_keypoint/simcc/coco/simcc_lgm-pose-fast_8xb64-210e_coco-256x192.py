_base_ = [
    '../../../_base_/models/lgm-pose-fast-simcc.py',
    '../../../_base_/datasets/coco_256x192_simcc.py',
    '../../../_base_/schedules/8xb64-210e.py'
]

train_dataloader = dict(batch_size=64)

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(
        out_channels=17,
        input_size=_base_.codec.input_size,
        in_featuremap_size=(24, 32),
        simcc_split_ratio=_base_.codec.simcc_split_ratio,
        decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(save_best='coco/AP', rule='greater'))
