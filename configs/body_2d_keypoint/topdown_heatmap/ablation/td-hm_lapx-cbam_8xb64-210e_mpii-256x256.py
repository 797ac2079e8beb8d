# LAPX's ablation, row 1: CBAM in place of ECA-CBAM.
_base_ = 'td-hm_lapx-eca-cbam_8xb64-210e_mpii-256x256.py'

model = dict(backbone=dict(post_attention=dict(type='LAPXCBAM', reduction=16)))
