# MMPose's, and hooks that stop at a loss that is no number and list what data
# sets with on_bad='skip' skip. See docs/robustness.md.
_base_ = 'mmpose::_base_/default_runtime.py'

default_hooks = dict(
    invalid_loss=dict(type='InvalidLossHook'),
    skipped_data=dict(type='SkippedDataHook'))
