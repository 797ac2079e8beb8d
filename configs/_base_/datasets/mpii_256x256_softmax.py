# MPII, top-down, 256x256 (HxW), with UDP and heat maps that are
# probabilities.
_base_ = 'mpii_256x256.py'

softmax = dict(
    type='SoftmaxUDPHeatmap',
    input_size=(256, 256),
    heatmap_size=(64, 64),
    sigma=2)
codec = dict(_delete_=True, **softmax)

changes = dict(
    TopdownAffine=dict(use_udp=True), GenerateTarget=dict(encoder=softmax))
train_pipeline = [
    dict(step, **changes.get(step['type'], {}))
    for step in _base_.train_pipeline
]
val_pipeline = [
    dict(step, **changes.get(step['type'], {})) for step in _base_.val_pipeline
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=val_pipeline))
