_base_ = [
    '../../../_base_/models/lgm-pose-fast.py',
    '../../../_base_/datasets/body17_256x192.py',
    '../../../_base_/schedules/1xb256-120e_body17.py'
]

train_dataloader = dict(batch_size=256, num_workers=8)

model = dict(
    train_cfg=dict(compute_acc=False),
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=17, decoder=_base_.codec))
