_base_ = [
    '../../body17_benchmark/td-hm_lgm-pose-fast_1xb32-13e_body17-128x96.py'
]

train_cfg = dict(max_epochs=38, val_interval=6)

optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=300)
param_scheduler[1].update(end=38)

train_dataloader = dict(dataset=dict(sample_ratio_factor=[1, 0.15, 0.35]))
