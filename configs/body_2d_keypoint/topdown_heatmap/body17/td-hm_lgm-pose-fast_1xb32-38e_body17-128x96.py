# From random weights.
_base_ = 'td-hm_lgm-pose_1xb16-18e_body17-128x96.py'

train_cfg = dict(max_epochs=38, val_interval=6)

optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=300)
param_scheduler[1].update(end=38)

train_dataloader = dict(
    batch_size=32, dataset=dict(sample_ratio_factor=[1, 0.15, 0.35]))

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
