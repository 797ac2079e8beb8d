_base_ = [
    '../../_base_/models/lgm-pose-fast-simcc.py',
    '../../_base_/datasets/body17_128x96_simcc.py',
    '../../_base_/schedules/1xb32-13e_body17.py'
]

# At 4e-3 SimCC heads did not learn on LSPET.
optim_wrapper = dict(optimizer=dict(lr=2e-3))

model = dict(
    backbone=dict(input_size=_base_.codec.input_size),
    head=dict(
        out_channels=17,
        input_size=_base_.codec.input_size,
        in_featuremap_size=(12, 16),
        simcc_split_ratio=_base_.codec.simcc_split_ratio,
        decoder=_base_.codec))
