# CPN with ResNet-50 (arXiv 1711.07319). Whoever inherits this sets
# neck.num_keypoints, head.out_channels and head.decoder. The losses are those
# of GlobalNet's four levels and RefineNet's, of the hardest key points.
_base_ = 'topdown.py'

mse = dict(type='KeypointMSELoss', use_target_weight=True)
model = dict(
    backbone=dict(type='ResNet', depth=50, out_indices=(0, 1, 2, 3)),
    neck=dict(type='CPNNeck', in_channels=(256, 512, 1024, 2048)),
    head=dict(
        type='LAPXHead',
        num_stages=5,
        loss=[
            mse, mse, mse, mse,
            dict(type='KeypointOHKMMSELoss', use_target_weight=True)
        ]))
