# COCO key points, top-down, 256x192 (HxW), with SimCC's vectors as RTMPose has
# them in place of heat maps.
_base_ = 'coco_256x192.py'

simcc = dict(
    type='SimCCLabel',
    input_size=(192, 256),
    sigma=(4.9, 5.66),
    simcc_split_ratio=2.0,
    normalize=False,
    use_dark=False)
codec = dict(_delete_=True, **simcc)

train_pipeline = [
    dict(step, encoder=simcc) if step['type'] == 'GenerateTarget' else step
    for step in _base_.train_pipeline
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
