# From weights of td-hm_lgm-pose-fast_1xb16-13e_body17-256x192.py:
# `--cfg-options load_from=CHECKPOINT`.
_base_ = 'td-hm_lgm-pose-fast_1xb16-13e_body17-256x192.py'

train_cfg = dict(max_epochs=20)

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(begin=12, end=20)

train_pipeline = _base_.train_pipeline
train_pipeline[2].update(prob=0.1)
train_pipeline[3].update(
    shift_factor=0.06, rotate_factor=20., scale_factor=(0.85, 1.2))

train_dataloader = dict(
    dataset=dict(sample_ratio_factor=[1, 0.01, 0.01], pipeline=train_pipeline))
