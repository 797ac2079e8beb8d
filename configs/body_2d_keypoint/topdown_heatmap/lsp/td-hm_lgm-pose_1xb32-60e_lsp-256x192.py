_base_ = [
    '../../../_base_/models/lgm-pose.py',
    '../../../_base_/datasets/lsp_256x192.py',
    '../../../_base_/schedules/1xb32-60e.py'
]

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(out_channels=14, decoder=_base_.codec),
    test_cfg=dict(shift_heatmap=False))

default_hooks = dict(
    checkpoint=dict(
        interval=5, max_keep_ckpts=2, save_best='lsp/PCK', rule='greater'))
