# Table 5 of LGM-Pose.
_base_ = 'td-hm_lgm-pose_1xb8-4e_lsp-128x96.py'

model = dict(neck=dict(fusion='dw2'))
