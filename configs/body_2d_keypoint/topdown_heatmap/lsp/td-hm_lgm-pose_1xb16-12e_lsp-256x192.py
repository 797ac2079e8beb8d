# From weights of td-hm_lgm-pose_1xb16-60e_lsp-128x96.py, resized as they are
# loaded: `--cfg-options load_from=CHECKPOINT`.
_base_ = [
    '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/lsp_256x192.py',
    '../../../_base_/schedules/1xb16-60e_lsp.py'
]

train_cfg = dict(max_epochs=12, val_interval=2)

optim_wrapper = dict(optimizer=dict(lr=1e-3))

param_scheduler = [
    dict(type='LinearLR', begin=0, end=100, start_factor=0.01, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

train_dataloader = dict(batch_size=16)

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(
        out_channels=14,
        loss=dict(_delete_=True, type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

default_hooks = dict(checkpoint=dict(interval=1))
