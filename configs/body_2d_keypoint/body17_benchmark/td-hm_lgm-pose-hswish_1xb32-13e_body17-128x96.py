# Hardswish in place of SiLU.
_base_ = 'td-hm_lgm-pose_1xb32-13e_body17-128x96.py'

model = dict(backbone=dict(arch='hswish'))
