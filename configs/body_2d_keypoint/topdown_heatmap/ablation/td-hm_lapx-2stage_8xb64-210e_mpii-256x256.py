# LAPX with 2 stages at about the same number of parameters. Width and sites of
# the Non-Local layers are inferred.
_base_ = '../mpii/td-hm_lapx_8xb64-210e_mpii-256x256.py'

model = dict(
    backbone=dict(channels=256, num_stages=2), head=dict(num_stages=2))
