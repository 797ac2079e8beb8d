_base_ = 'td-hm_ditehrnet-18_8xb64-210e_coco-256x192.py'

model = dict(backbone=dict(depth=30))
