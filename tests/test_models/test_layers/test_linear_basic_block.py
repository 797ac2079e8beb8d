import torch
import torch.nn.functional as F

from lgm_pose_plugin.models.layers import LinearBasicBlock


@torch.no_grad()
def test_is_linear_behind_its_one_activation(randomize):
    block = LinearBasicBlock(
        6, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU'))
    block = randomize(block).double().eval()
    x = torch.randn(2, 6, 7, 5, dtype=torch.double)

    def conv(x, layer):
        return layer.bn(F.conv2d(x, layer.conv.weight, padding=1))

    hidden = conv(x, block.conv1)
    expected = x + conv(hidden * torch.sigmoid(hidden), block.conv2)
    torch.testing.assert_close(block(x), expected)
