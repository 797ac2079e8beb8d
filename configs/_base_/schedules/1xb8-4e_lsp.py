# The recipe of docs/lsp_benchmark.md: as short as networks still differ.
_base_ = 'adamw_cosine.py'

train_cfg = dict(max_epochs=4, val_interval=2)

auto_scale_lr = dict(base_batch_size=8)

default_hooks = dict(
    checkpoint=dict(
        interval=2, max_keep_ckpts=1, save_best='lsp/PCK', rule='greater'))

randomness = dict(seed=0)
