# Without LARM, to compare with, see docs/erf.md.
_base_ = 'td-hm_lgm-pose_1xb4-2e_rendered-128x96.py'

model = dict(backbone=dict(arch='no_larm'))
