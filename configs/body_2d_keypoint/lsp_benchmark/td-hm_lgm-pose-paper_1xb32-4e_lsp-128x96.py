# The paper's recipe with as many samples: mean squared error, Adam, 1e-3 and
# its steps in proportion, batch 32, MMPose's augmentation.
_base_ = 'td-hm_lgm-pose-paper-batch8_1xb8-4e_lsp-128x96.py'

train_dataloader = dict(batch_size=32)

# At 200 and 240 of 260 epochs; there are 740 iterations.
param_scheduler = [
    dict(type='MultiStepLR', milestones=[569, 683], gamma=0.1, by_epoch=False)
]

auto_scale_lr = dict(base_batch_size=32)
