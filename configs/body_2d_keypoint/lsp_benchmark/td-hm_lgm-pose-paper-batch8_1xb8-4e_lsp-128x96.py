# The paper's recipe with the benchmark's batch size: Adam, 1e-3 and its steps
# in proportion.
_base_ = 'td-hm_lgm-pose-mse-mmpose-augmentation_1xb8-4e_lsp-128x96.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='Adam', lr=1e-3), paramwise_cfg=None)

# At 200 and 240 of 260 epochs; there are 2952 iterations.
param_scheduler = [
    dict(
        type='MultiStepLR', milestones=[2271, 2725], gamma=0.1, by_epoch=False)
]
