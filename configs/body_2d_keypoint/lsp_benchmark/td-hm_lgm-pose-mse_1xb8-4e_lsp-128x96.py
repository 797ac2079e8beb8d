# The paper's loss, in place of cross-entropy. The targets are the same.
_base_ = 'td-hm_lgm-pose_1xb8-4e_lsp-128x96.py'

model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='KeypointMSELoss', use_target_weight=True),
        decoder=dict(type='UDPHeatmap')))
