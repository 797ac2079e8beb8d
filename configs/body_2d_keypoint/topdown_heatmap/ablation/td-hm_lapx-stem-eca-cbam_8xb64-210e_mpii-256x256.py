# LAPX's ablation, row 4: without the ECA-NonLocal at the necks, which the
# last row, ../mpii/td-hm_lapx_8xb64-210e_mpii-256x256.py, adds.
_base_ = [
    '../../../_base_/models/lapx.py',
    '../../../_base_/datasets/mpii_256x256.py',
    '../../../_base_/schedules/8xb64-210e_lap.py'
]

train_dataloader = dict(batch_size=64)

model = dict(
    backbone=dict(num_keypoints=16, neck_attention=None),
    head=dict(out_channels=16, decoder=_base_.codec))

default_hooks = dict(checkpoint=dict(save_best='PCK', rule='greater'))
