# LAPX's ablation, row 1: CBAM in place of ECA-CBAM.
_base_ = 'td-hm_lapx_1xb8-4e_lsp-128x96.py'

model = dict(backbone=dict(post_attention=dict(type='CBAM', reduction=16)))
