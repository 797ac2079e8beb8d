# From weights of td-hm_lgm-pose_1xb16-60e_lsp-128x96.py: `--cfg-options
# load_from=CHECKPOINT`. By then the network knows its 5,899 people, so they
# are turned further.
_base_ = 'td-hm_lgm-pose_1xb16-60e_lsp-128x96.py'

train_cfg = dict(max_epochs=40)

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(begin=32)

train_pipeline = _base_.train_pipeline
train_pipeline[3].update(rotate_factor=60.)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
