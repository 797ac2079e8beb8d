# MMPose's, and: a killed training resumes to what it would have become, a loss
# that is no number stops it, and what data sets with on_bad='skip' skip is
# listed. See docs/robustness.md.
_base_ = 'mmpose::_base_/default_runtime.py'

default_hooks = dict(
    checkpoint=dict(type='SafeCheckpointHook'),
    epoch_seed=dict(type='EpochSeedHook'),
    invalid_loss=dict(type='InvalidLossHook'),
    skipped_data=dict(type='SkippedDataHook'))
