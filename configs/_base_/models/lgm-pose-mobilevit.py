# Table 4 of LGM-Pose: MobileViT's blocks in place of MobileViM's.
_base_ = 'lgm-pose.py'

model = dict(backbone=dict(arch='mobilevit'))
