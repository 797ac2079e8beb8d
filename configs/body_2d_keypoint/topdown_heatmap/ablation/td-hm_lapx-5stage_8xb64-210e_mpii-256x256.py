# LAPX with 5 stages at about the same number of parameters. Width and sites of
# the Non-Local layers are inferred.
_base_ = '../mpii/td-hm_lapx_8xb64-210e_mpii-256x256.py'

model = dict(
    backbone=dict(channels=160, num_stages=5), head=dict(num_stages=5))
