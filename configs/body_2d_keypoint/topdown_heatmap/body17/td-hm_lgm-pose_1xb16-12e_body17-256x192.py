# For one core of a CPU, from lgm-pose_body17-128x96: `--cfg-options
# load_from=CHECKPOINT`.
_base_ = 'td-hm_lgm-pose_1xb256-120e_body17-256x192.py'

train_cfg = dict(max_epochs=12, val_interval=3)

train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
auto_scale_lr = dict(base_batch_size=16)
param_scheduler = [
    dict(type='LinearLR', begin=0, end=300, start_factor=0.01, by_epoch=False),
    dict(
        type='LinearLR',
        begin=0,
        end=12,
        start_factor=1.,
        end_factor=0.,
        by_epoch=True,
        convert_to_iter_based=True)
]

train_pipeline = _base_.train_pipeline
train_pipeline[2].update(prob=0.3)
train_pipeline[3].update(rotate_factor=40., scale_factor=(0.7, 1.3))

train_dataloader.update(
    dataset=dict(sample_ratio_factor=[1, 0.1, 0.25], pipeline=train_pipeline))

custom_hooks = _base_.custom_hooks
custom_hooks[1].update(gamma=100)
