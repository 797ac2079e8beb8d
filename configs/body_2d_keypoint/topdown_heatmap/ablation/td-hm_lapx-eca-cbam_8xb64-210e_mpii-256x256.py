# LAPX's ablation, row 2: without soft gates.
_base_ = 'td-hm_lapx-soft-gate_8xb64-210e_mpii-256x256.py'

model = dict(backbone=dict(soft_gate=False))
