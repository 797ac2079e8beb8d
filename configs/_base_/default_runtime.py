# MMPose's, and a killed training resumes to what it would have become, see
# docs/robustness.md.
_base_ = 'mmpose::_base_/default_runtime.py'

default_hooks = dict(
    checkpoint=dict(type='SafeCheckpointHook'),
    epoch_seed=dict(type='EpochSeedHook'))
