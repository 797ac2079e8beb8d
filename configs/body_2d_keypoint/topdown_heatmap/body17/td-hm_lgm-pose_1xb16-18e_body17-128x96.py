# From weights of td-hm_lgm-pose_1xb16-5e_body17-128x96.py: `--cfg-options
# load_from=CHECKPOINT`. COCO's labels weigh more, and people are turned and
# scaled less.
_base_ = 'td-hm_lgm-pose_1xb16-5e_body17-128x96.py'

train_cfg = dict(max_epochs=18, val_interval=3)

optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=100, start_factor=0.01, by_epoch=False),
    dict(
        type='LinearLR',
        begin=0,
        end=18,
        start_factor=1.,
        end_factor=0.,
        by_epoch=True,
        convert_to_iter_based=True)
]

train_pipeline = _base_.train_pipeline
train_pipeline[2].update(prob=0.2)
train_pipeline[3].update(rotate_factor=30., scale_factor=(0.75, 1.25))

train_dataloader = dict(
    dataset=dict(sample_ratio_factor=[1, 0.05, 0.25], pipeline=train_pipeline))

custom_hooks = _base_.custom_hooks
custom_hooks[1].update(momentum=0.002, gamma=100)
