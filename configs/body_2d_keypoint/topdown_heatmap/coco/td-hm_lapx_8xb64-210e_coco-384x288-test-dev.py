# Writes a submission for COCO test-dev2017, see docs/test_dev.md.
_base_ = 'td-hm_lapx_8xb64-210e_coco-384x288.py'

test_dataloader = dict(
    dataset=dict(
        ann_file='annotations/image_info_test-dev2017.json',
        bbox_file='data/coco/person_detection_results/'
        'COCO_test-dev2017_detections_AP_H_609_person.json',
        data_prefix=dict(img='test2017/')))

test_evaluator = dict(
    _delete_=True,
    type='CocoSubmission',
    ann_file=_base_.data_root + 'annotations/image_info_test-dev2017.json',
    outfile_prefix='work_dirs/'
    'person_keypoints_test-dev2017_lapx-384x288_results')
