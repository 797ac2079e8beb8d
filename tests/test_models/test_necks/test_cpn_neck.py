import pytest
import torch
import torch.nn.functional as F

from lgm_pose_plugin.models.necks import CPNNeck

CHANNELS = (4, 6, 8, 10)


def small():
    return CPNNeck(CHANNELS, num_keypoints=5, channels=12)


def maps(size=(16, 24)):
    return [
        torch.randn(2, width, *(side // 2**i for side in size))
        for i, width in enumerate(CHANNELS)
    ]


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('size', [(16, 24), (24, 24)])
def test_forward(size, training):
    outs = small().train(training)(maps(size))
    assert [tuple(out.shape) for out in outs] == [(2, 5, *size)] * 5
    assert all(out.isfinite().all() for out in outs)


def enlarge(x, size):
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


@torch.no_grad()
def test_is_what_it_says(randomize):
    neck, feats = randomize(small()).eval(), maps()
    size, above, expected, refined = feats[0].shape[2:], None, [], []
    for i in reversed(range(4)):
        x = neck.laterals[i](feats[i])
        if above is not None:
            x = x + neck.merges[i][1](enlarge(above, x.shape[2:]))
        above = x
        expected.append(enlarge(neck.global_heatmaps[i][:2](x), size))
        assert len(neck.refine[i]) == i + 1
        refined.insert(0, enlarge(neck.refine[i][:i](x), size))
    expected.append(neck.heatmaps(torch.cat(refined, 1)))
    for out, wanted in zip(neck(feats), expected):
        torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-4)


class Four(torch.nn.Module):
    """The neck for maps in one tensor."""

    def __init__(self):
        super().__init__()
        self.neck = small()

    def forward(self, x):
        parts = x.split(CHANNELS, 1)
        return self.neck([
            F.avg_pool2d(part, 2**i) if i else part
            for i, part in enumerate(parts)
        ])


def test_gradients(check_gradients):
    check_gradients(Four(), torch.randn(2, sum(CHANNELS), 16, 24))


def test_exports(check_exports):
    check_exports(Four(), (sum(CHANNELS), 16, 24))
