# People in ordinary photos, top-down, 128x96 (HxW).
_base_ = 'body17_256x192.py'

codec = dict(
    input_size=(96, 128), heatmap_size=(24, 32), sigma=1.5, blur_kernel_size=7)

changes = dict(
    TopdownAffine=dict(input_size=codec['input_size']),
    GenerateTarget=dict(encoder=dict(_base_.codec, **codec)))
train_pipeline = [
    dict(step, **changes.get(step['type'], {}))
    for step in _base_.train_pipeline
]
val_pipeline = [
    dict(step, **changes.get(step['type'], {})) for step in _base_.val_pipeline
]
del changes

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
