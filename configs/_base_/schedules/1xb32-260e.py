# The recipe of LGM-Pose: Adam, 260 epochs, batch size 32 on one GPU.
_base_ = '../default_runtime.py'

train_cfg = dict(max_epochs=260, val_interval=10)

optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3))

param_scheduler = [
    dict(
        type='MultiStepLR',
        begin=0,
        end=260,
        milestones=[200, 240],
        gamma=0.1,
        by_epoch=True)
]

auto_scale_lr = dict(base_batch_size=32)
