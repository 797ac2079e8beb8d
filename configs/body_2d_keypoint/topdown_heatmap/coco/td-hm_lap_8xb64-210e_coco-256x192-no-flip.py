# Without flip test.
_base_ = 'td-hm_lap_8xb64-210e_coco-256x192.py'

model = dict(test_cfg=dict(flip_test=False))
