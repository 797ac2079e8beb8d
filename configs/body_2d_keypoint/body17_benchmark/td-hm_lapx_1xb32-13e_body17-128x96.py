_base_ = [
    '../../_base_/models/lapx.py',
    '../../_base_/datasets/body17_128x96_light.py',
    '../../_base_/schedules/1xb32-13e_body17.py'
]

model = dict(
    backbone=dict(num_keypoints=17),
    head=dict(
        out_channels=17,
        loss=dict(_delete_=True, type='KeypointCrossEntropyLoss'),
        decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

# As in the other recipes, in proportion.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='NonLocalRampHook', begin=4, end=7, gamma=0.2)
]
find_unused_parameters = True
