_base_ = [
    '../../../_base_/models/tokenpose-b.py',
    '../../../_base_/datasets/coco_384x288.py',
    '../../../_base_/schedules/8xb64-210e_lap.py'
]

train_dataloader = dict(batch_size=64)

model = dict(
    head=dict(
        out_channels=17,
        in_featuremap_size=_base_.codec.heatmap_size,
        patch_size=(4, 6),
        decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(save_best='coco/AP', rule='greater'))
