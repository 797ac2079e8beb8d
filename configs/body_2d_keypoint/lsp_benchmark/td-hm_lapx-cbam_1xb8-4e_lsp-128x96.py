# LAPX's ablation, row 1: no attention but CBAM, no soft gates.
_base_ = 'td-hm_lapx_1xb8-4e_lsp-128x96.py'

model = dict(
    backbone=dict(
        stem_attention=None,
        post_attention=dict(type='LAPXCBAM', reduction=16),
        neck_attention=None,
        soft_gate=False))

custom_hooks = [dict(type='SyncBuffersHook')]
find_unused_parameters = False
