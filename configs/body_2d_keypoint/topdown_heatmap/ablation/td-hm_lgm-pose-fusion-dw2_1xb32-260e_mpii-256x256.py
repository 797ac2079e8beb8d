# Table 5 of LGM-Pose: a 3x3 convolution with 2 channels per group, unshuffled,
# in place of SFusion.
_base_ = '../mpii/td-hm_lgm-pose_1xb32-260e_mpii-256x256.py'

model = dict(neck=dict(fusion='dw2'))
