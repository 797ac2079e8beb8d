# For int8 engines, which fuse HSwish with convolutions and not SiLU.
_base_ = 'td-hm_lgm-pose_1xb32-260e_coco-256x192.py'

model = dict(backbone=dict(arch='hswish'))
