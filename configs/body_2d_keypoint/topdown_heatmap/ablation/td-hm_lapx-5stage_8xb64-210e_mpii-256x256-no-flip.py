# Without flip test.
_base_ = 'td-hm_lapx-5stage_8xb64-210e_mpii-256x256.py'

model = dict(test_cfg=dict(flip_test=False))
