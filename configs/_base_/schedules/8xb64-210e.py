# MMPose's schedule for 8 GPUs. The learning rate is LGM-Pose's 1e-3 at batch
# size 32, scaled by the square root of the batch size (512 / 32 = 16), as
# suits Adam, and warmed up.
_base_ = '../default_runtime.py'

train_cfg = dict(max_epochs=210, val_interval=10)

optim_wrapper = dict(optimizer=dict(type='Adam', lr=4e-3))

param_scheduler = [
    dict(
        type='LinearLR', begin=0, end=500, start_factor=0.001,
        by_epoch=False),  # warm-up
    dict(
        type='MultiStepLR',
        begin=0,
        end=210,
        milestones=[170, 200],
        gamma=0.1,
        by_epoch=True)
]

auto_scale_lr = dict(base_batch_size=512)
