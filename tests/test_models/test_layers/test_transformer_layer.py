import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lgm_pose_plugin.models.layers.transformer_layer import TransformerLayer


@pytest.mark.parametrize('num_heads, ffn_ratio, act, function, qkv_bias',
                         [(4, 2, nn.SiLU(), F.silu, True),
                          (3, 5, nn.GELU(), F.gelu, False)])
@torch.no_grad()
def test_equals_torch(randomize, num_heads, ffn_ratio, act, function,
                      qkv_bias):
    layer = randomize(
        TransformerLayer(12, num_heads, ffn_ratio, act, qkv_bias))
    torch_layer = nn.TransformerEncoderLayer(
        12,
        num_heads,
        12 * ffn_ratio,
        dropout=0,
        activation=function,
        batch_first=True,
        norm_first=True)
    names = {
        'self_attn.in_proj_': 'qkv.',
        'self_attn.out_proj.': 'proj.',
        'linear1.': 'ffn.0.',
        'linear2.': 'ffn.2.',
    }
    state = {}
    for key in torch_layer.state_dict():
        own = key
        for theirs, ours in names.items():
            own = own.replace(theirs, ours)
        state[key] = layer.state_dict().get(own, torch.zeros(36))
    torch_layer.load_state_dict(state)
    x = torch.randn(3, 5, 12)
    torch.testing.assert_close(layer(x), torch_layer(x), atol=1e-5, rtol=1e-4)


def test_heads_do_not_share_a_token():
    with pytest.raises(ValueError, match='14 must be a multiple of 4'):
        TransformerLayer(14, 4, 2, nn.GELU())


def test_gradients(check_gradients):
    check_gradients(
        TransformerLayer(12, 3, 2, nn.GELU(), qkv_bias=False),
        torch.randn(2, 5, 12))
