_base_ = [
    '../../../_base_/models/lpn50.py',
    '../../../_base_/datasets/coco_384x288.py',
    '../../../_base_/schedules/8xb64-210e_lap.py'
]

train_dataloader = dict(batch_size=64)

model = dict(head=dict(out_channels=17, decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(save_best='coco/AP', rule='greater'))
