_base_ = 'td-hm_hfhrnet-18_8xb64-210e_mpii-256x256.py'

model = dict(backbone=dict(depth=30))
