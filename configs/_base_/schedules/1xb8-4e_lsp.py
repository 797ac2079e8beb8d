# The recipe of docs/lsp_benchmark.md: as short as networks still differ.
_base_ = '../default_runtime.py'

train_cfg = dict(max_epochs=4, val_interval=2)

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))

param_scheduler = [
    dict(type='LinearLR', begin=0, end=500, start_factor=0.01, by_epoch=False),
    # To the last epoch, whatever train_cfg.max_epochs says.
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]

auto_scale_lr = dict(base_batch_size=8)

default_hooks = dict(
    checkpoint=dict(
        interval=2, max_keep_ckpts=1, save_best='lsp/PCK', rule='greater'))

randomness = dict(seed=0)
