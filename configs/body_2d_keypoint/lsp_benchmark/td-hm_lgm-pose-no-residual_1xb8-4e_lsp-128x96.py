# LARM without residuals, as Equation (1) shows it.
_base_ = 'td-hm_lgm-pose_1xb8-4e_lsp-128x96.py'

model = dict(backbone=dict(arch='no_residual'))
