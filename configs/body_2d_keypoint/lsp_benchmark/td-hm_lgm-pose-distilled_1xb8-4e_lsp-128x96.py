# The same network, taught by one that has been trained five times as long.
_base_ = 'td-hm_lgm-pose_1xb8-4e_lsp-128x96.py'

model = dict(type='HeatmapDistiller', teacher_config='lgm-pose_lsp-128x96')
