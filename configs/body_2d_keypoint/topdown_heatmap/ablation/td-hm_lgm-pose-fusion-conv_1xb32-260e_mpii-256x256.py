# Table 5 of LGM-Pose: a full 3x3 convolution, in place of SFusion.
_base_ = '../mpii/td-hm_lgm-pose_1xb32-260e_mpii-256x256.py'

model = dict(neck=dict(fusion='conv'))
