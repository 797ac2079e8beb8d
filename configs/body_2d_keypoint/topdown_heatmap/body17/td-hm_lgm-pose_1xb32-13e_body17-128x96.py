# From random weights, to compare networks (docs/body17.md).
_base_ = 'td-hm_lgm-pose_1xb16-18e_body17-128x96.py'

train_cfg = dict(max_epochs=13)

optim_wrapper = dict(optimizer=dict(lr=4e-3))
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=200)
param_scheduler[1].update(end=13)

train_dataloader = dict(batch_size=32)

randomness = dict(seed=0)
