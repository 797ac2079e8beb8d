# LAPX's ablation, row 3: without the attention after the stem.
_base_ = 'td-hm_lapx-stem-eca-cbam_8xb64-210e_mpii-256x256.py'

model = dict(backbone=dict(stem_attention=None))
