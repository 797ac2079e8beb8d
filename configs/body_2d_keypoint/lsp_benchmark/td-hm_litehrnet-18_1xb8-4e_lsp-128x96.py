_base_ = [
    '../../_base_/models/litehrnet-18.py',
    '../../_base_/datasets/lsp_128x96.py',
    '../../_base_/schedules/1xb8-4e_lsp.py'
]

train_dataloader = dict(batch_size=8)

model = dict(head=dict(out_channels=14, decoder=_base_.codec))
