# LAP (arXiv 2412.06227), LAPX's predecessor. The sites of its attention and
# its reduction are inferred.
_base_ = 'lapx.py'

model = dict(
    backbone=dict(
        channels=256,
        num_stages=2,
        stem_attention=None,
        post_attention=dict(type='LAPXCBAM', reduction=16),
        neck_attention=dict(type='LAPXCBAM', reduction=16),
        soft_gate=False,
        conv_bias=True),
    head=dict(num_stages=2))
