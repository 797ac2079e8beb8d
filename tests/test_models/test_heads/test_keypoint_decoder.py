import cv2
import numpy as np
import pytest
import torch
from mmpose.codecs import MSRAHeatmap, SimCCLabel, UDPHeatmap

from lgm_pose_plugin.codecs import SoftmaxUDPHeatmap
from lgm_pose_plugin.models.heads.keypoint_decoder import KeypointDecoder

SIZES = [((192, 256), (48, 64), 2, 11), ((288, 384), (72, 96), 3, 17),
         ((100, 80), (25, 20), 1.5, 7), ((256, 256), (64, 64), 1, 3)]
KINDS = ('gaussian', 'border', 'faint', 'blurred', 'random', 'constant')


def make_codec(kind, input_size, heatmap_size, sigma, kernel):
    if kind == 'udp':
        return UDPHeatmap(
            input_size, heatmap_size, sigma=sigma, blur_kernel_size=kernel)
    return MSRAHeatmap(
        input_size,
        heatmap_size,
        sigma,
        unbiased=kind == 'dark',
        blur_kernel_size=kernel)


def gaussians(centers, size, sigma):
    y, x = np.mgrid[:size[1], :size[0]]
    x, y = (grid - centers[:, axis, None, None]
            for axis, grid in enumerate((x, y)))
    return np.exp(-(x**2 + y**2) / (2 * sigma**2)).astype(np.float32)


def make_maps(kind, size, sigma, rng):
    width, height = size
    shape = (34, height, width)
    if kind in ('gaussian', 'faint'):
        return gaussians(
            rng.random((34, 2)) * (width - 1, height - 1), size, sigma)
    if kind == 'border':
        # all pixels of the border, and those at a distance of up to 4
        y, x = np.mgrid[:height, :width].reshape(2, -1)
        near = np.minimum.reduce([x, y, width - 1 - x, height - 1 - y]) < 5
        centers = np.stack((x[near], y[near]), 1)
        chosen = rng.permutation(len(centers))[:150]
        corners = np.abs(centers -
                         [width // 2, height // 2]).sum(1).argsort()[-40:]
        centers = centers[np.concatenate((chosen, corners))]
        return gaussians(centers + rng.uniform(-0.4, 0.4, centers.shape), size,
                         sigma)
    if kind == 'constant':
        return np.full(shape, 0.5, dtype=np.float32)
    maps = rng.random(shape, dtype=np.float32)
    if kind == 'blurred':
        maps = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in maps])
        maps -= maps.mean()
    return maps


@pytest.mark.promise('deploy-mode')
@pytest.mark.parametrize('size', SIZES, ids=lambda size: str(size[3]))
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('codec', ['msra', 'dark', 'udp'])
def test_equals_codec(codec, kind, size):
    codec = make_codec(codec, *size)
    decoder = KeypointDecoder(codec)
    maps = make_maps(kind, size[1], size[2], np.random.default_rng(0))
    if kind == 'faint':  # hardly above where the logarithm is clamped
        maps *= 1.05e-10 if decoder.refinement == 'dark' else 1.05e-3
    expected, expected_scores = codec.decode(maps)
    keypoints, scores = decoder(torch.from_numpy(maps)[None])
    assert keypoints.shape == expected.shape
    assert keypoints.dtype == torch.float32
    assert np.array_equal(scores, expected_scores)
    # The expansion of noise may have a nearly singular Hessian, which blows
    # the rounding of the blur up; measured elsewhere: below 2e-4 pixels.
    difference = np.abs(keypoints.numpy() - expected).max(2)
    if decoder.refinement == 'quarter':
        assert difference.max() <= 1e-4
    elif kind == 'random':
        assert np.quantile(difference, 0.9) < 2e-2
        assert np.median(difference) < 2e-3
    else:
        assert difference.max() < 1e-3


@pytest.mark.parametrize('codec', ['msra', 'dark', 'udp'])
def test_refines(codec):
    """The locations are finer than the pixels of the heat map."""
    codec = make_codec(codec, *SIZES[0])
    centers = np.random.default_rng(0).uniform(8, 40, (50, 2))
    maps = gaussians(centers, (48, 64), 2)
    keypoints, scores = KeypointDecoder(codec)(torch.from_numpy(maps)[None])
    scale = {True: (192 / 47, 256 / 63), False: (4, 4)}
    wanted = centers * scale[isinstance(codec, UDPHeatmap)]
    error = np.abs(keypoints[0].numpy() - wanted).max()
    plain = isinstance(codec, MSRAHeatmap) and not codec.unbiased
    assert error < (1.1 if plain else 0.1)
    assert scores.min() > 0.9


@pytest.mark.parametrize('value', [0., -1.])
@pytest.mark.parametrize('codec', ['msra', 'dark', 'udp'])
def test_nothing_above_zero(codec, value):
    codec = make_codec(codec, *SIZES[0])
    maps = torch.full((2, 3, 64, 48), value)
    maps[0, 1, 20, 10] = 0.5
    keypoints, scores = KeypointDecoder(codec)(maps)
    assert keypoints.isfinite().all()
    assert scores.gt(0).tolist() == [[False, True, False], [False] * 3]
    if not isinstance(codec, UDPHeatmap):
        expected = np.stack([codec.decode(m)[0][0] for m in maps.numpy()])
        assert np.allclose(keypoints, expected, atol=1e-4)
    assert keypoints[1].lt(0).all() and keypoints[0, 1].gt(0).all()


@pytest.mark.parametrize('kind', ['msra', 'dark', 'udp'])
def test_trace_and_export(check_exports, kind):
    codec = make_codec(kind, *SIZES[0])
    check_exports(KeypointDecoder(codec), (17, 64, 48), atol=2e-2)
    maps = make_maps('gaussian', (48, 64), 2, np.random.default_rng(1))
    tensor = torch.from_numpy(maps).view(2, 17, 64, 48)
    traced = torch.jit.trace(
        KeypointDecoder(codec), torch.zeros(2, 17, 64, 48), check_trace=False)
    keypoints, scores = traced(tensor)
    expected, expected_scores = codec.decode(maps)
    assert np.abs(keypoints.view(1, -1, 2).numpy() - expected).max() < 1e-3
    assert np.array_equal(scores.flatten(), expected_scores[0])


@pytest.mark.parametrize('converted', [False, True])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('kind', ['msra', 'dark', 'udp'])
def test_half_precision(kind, dtype, converted):
    """Only the maps are rounded, not the decoding."""
    codec = make_codec(kind, *SIZES[1])
    decoder = KeypointDecoder(codec)
    if converted:
        decoder.to(dtype)
    maps = make_maps('gaussian', (72, 96), 3, np.random.default_rng(0))
    maps = torch.from_numpy(maps).to(dtype)
    keypoints, scores = decoder(maps[None])
    expected, expected_scores = codec.decode(maps.float().numpy())
    assert np.abs(keypoints.float().numpy() - expected).max() < 0.1
    assert np.allclose(scores.float(), expected_scores)


@pytest.mark.parametrize('codec', [
    SimCCLabel((192, 256), simcc_split_ratio=2.0, sigma=6.0),
    UDPHeatmap((192, 256), (48, 64), heatmap_type='combined'),
    None,
])
def test_unsupported_codec(codec):
    name = type(codec).__name__ if codec else 'None'
    with pytest.raises(ValueError, match=f'MSRAHeatmap, UDP.*{name}'):
        KeypointDecoder(codec)


@pytest.mark.parametrize('noise', [.1, 3])
def test_softmax(noise):
    """Logits are decoded as by the codec, without any overflow."""
    codec = SoftmaxUDPHeatmap((96, 128), (24, 32), 1.5, 7)
    rng = np.random.default_rng(0)
    centers = rng.uniform((2, 2), (21, 29), (28, 2))
    maps = np.log(gaussians(centers, (24, 32), 1.5).clip(1e-9))
    maps = (maps + rng.normal(0, noise, maps.shape)).astype(np.float32)
    maps = (maps + 300).reshape(2, 14, 32, 24)
    keypoints, scores = KeypointDecoder(codec)(torch.from_numpy(maps))
    expected = [codec.decode(one) for one in maps]
    np.testing.assert_allclose(
        keypoints, np.concatenate([one[0] for one in expected]), atol=1e-2)
    np.testing.assert_allclose(
        scores, np.concatenate([one[1] for one in expected]), rtol=1e-4)


def test_no_point_is_thrown_out(ridges):
    decoder = KeypointDecoder(SoftmaxUDPHeatmap((192, 256), (48, 64)))
    keypoints, _ = decoder(torch.from_numpy(ridges)[None])
    pixels = keypoints.numpy() / (192 / 47, 256 / 63)
    assert np.abs(pixels - (24, 32)).max() < 4
