# Some 1.4 million people on one GPU.
_base_ = '8xb64-210e_plus.py'

train_cfg = dict(max_epochs=120)

optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05),
    clip_grad=dict(max_norm=10., norm_type=2))

auto_scale_lr = dict(base_batch_size=256)

default_hooks = dict(checkpoint=dict(save_best='coco/AP', rule='greater'))

custom_hooks = _base_.custom_hooks
custom_hooks[1].update(momentum=0.002)
