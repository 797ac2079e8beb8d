# Without flip test, as the paper reports LAPX on COCO.
_base_ = 'td-hm_lapx_8xb64-210e_coco-256x192.py'

model = dict(test_cfg=dict(flip_test=False))
