# From weights of td-hm_lgm-pose-fast_1xb32-38e_body17-128x96.py:
# `--cfg-options load_from=CHECKPOINT`.
_base_ = 'td-hm_lgm-pose_1xb16-12e_body17-256x192.py'

train_cfg = dict(max_epochs=13)

param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=150)
param_scheduler[1].update(end=13)

train_pipeline = _base_.train_pipeline
train_pipeline[2].update(prob=0.2)
train_pipeline[3].update(rotate_factor=30., scale_factor=(0.75, 1.25))

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

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
