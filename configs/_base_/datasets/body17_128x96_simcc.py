# With SimCC's vectors in place of heat maps; RTMPose's sigmas, scaled by the
# root of the sizes' ratio.
_base_ = 'body17_128x96_light.py'

simcc = dict(
    type='SimCCLabel',
    input_size=(96, 128),
    sigma=(3.46, 4.),
    simcc_split_ratio=2.0,
    normalize=False,
    use_dark=False)
codec = dict(_delete_=True, **simcc)

train_pipeline = [
    dict(step, encoder=simcc) if step['type'] == 'GenerateTarget' else step
    for step in _base_.train_pipeline
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
