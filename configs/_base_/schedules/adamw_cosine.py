# What docs/lsp_benchmark.md found: AdamW with a warm-up and a cosine.
_base_ = '../default_runtime.py'

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))

param_scheduler = [
    dict(type='LinearLR', begin=0, end=500, start_factor=0.01, by_epoch=False),
    # To the last epoch, whatever train_cfg.max_epochs says at the start.
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True)
]
