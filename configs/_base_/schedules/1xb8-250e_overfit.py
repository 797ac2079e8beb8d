# To over-fit a few images: a high learning rate, warmed up, then a cosine.
_base_ = '../default_runtime.py'

train_cfg = dict(max_epochs=250, val_interval=25)

optim_wrapper = dict(optimizer=dict(type='Adam', lr=3e-3))

param_scheduler = [
    dict(type='LinearLR', begin=0, end=200, start_factor=0.01, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        T_max=250,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

auto_scale_lr = dict(base_batch_size=8)

default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(
        interval=25, max_keep_ckpts=2, save_best='coco/AP', rule='greater'))
