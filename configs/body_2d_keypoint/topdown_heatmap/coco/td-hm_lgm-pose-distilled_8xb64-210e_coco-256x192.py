# LGM-Pose-Plus taught by MMPose's HRNet-W32 with UDP (COCO AP 76.2).
_base_ = 'td-hm_lgm-pose-plus_8xb64-210e_coco-256x192.py'

model = dict(
    type='HeatmapDistiller',
    teacher_config='mmpose::body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192.py',
    teacher_checkpoint='https://download.openmmlab.com/mmpose/v1/'
    'body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192-73ede547_20220914.pth')
