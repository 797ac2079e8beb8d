import pytest
import torch

from lgm_pose_plugin.models.necks import LPNNeck


@pytest.mark.parametrize('in_channels, deconv_channels, groups', [
    (512, (256, 256), [256, 1, 256, 1]),
    (12, (8, 6, 6), [4, 1, 2, 1, 6, 1]),
])
def test_forward(in_channels, deconv_channels, groups):
    neck = LPNNeck(in_channels, deconv_channels)
    assert [step.conv.groups for step in neck.steps] == groups
    out, = neck([torch.randn(2, 3, 9, 9), torch.randn(2, in_channels, 4, 3)])
    scale = 2**len(deconv_channels)
    assert out.shape == (2, deconv_channels[-1], 4 * scale, 3 * scale)


def test_gradients(check_gradients):
    check_gradients(Single(LPNNeck(8, (4, 4))), torch.randn(2, 8, 4, 3))


def test_exports(check_exports):
    check_exports(Single(LPNNeck(8, (4, 4))), (8, 4, 3))


class Single(torch.nn.Module):
    """The neck for one map."""

    def __init__(self, neck):
        super().__init__()
        self.neck = neck

    def forward(self, x):
        return self.neck([x])
