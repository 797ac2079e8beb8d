# From weights of td-hm_lgm-pose-fast_1xb16-13e_body17-256x192.py:
# `--cfg-options load_from=CHECKPOINT`.
_base_ = 'td-hm_lgm-pose_1xb16-14e_body17-256x192-coco.py'

train_cfg = dict(max_epochs=20, val_interval=3)

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(begin=12, end=20)

model = dict(
    backbone=dict(arch='fast'),
    neck=dict(
        in_channels=(64, 64, 112, 112, 128),
        deconv_channels=(128, 128),
        deconv_kernel_size=1,
        fusion='dw1'),
    head=dict(
        in_channels=256,
        conv_out_channels=(112, ),
        conv_kernel_sizes=(1, ),
        final_layer=dict(type='deconv', kernel_size=2, stride=2)))
