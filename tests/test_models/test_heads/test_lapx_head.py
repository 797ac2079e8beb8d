import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import KEYPOINT_CODECS
from mmpose.testing import get_packed_inputs
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lgm_pose_plugin.models.heads import LAPXHead, LGMHead

MSRA = dict(
    type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=2)
CODECS = dict(
    msra=MSRA,
    dark=dict(MSRA, unbiased=True, blur_kernel_size=11),
    udp=dict(MSRA, type='UDPHeatmap'))


@pytest.fixture
def head():

    def head(codec='msra', **kwargs):
        return LAPXHead(17, decoder=CODECS[codec], **kwargs)

    return head


@pytest.fixture
def feats():
    return tuple(torch.randn(2, 17, 32, 24) for _ in range(3))


@pytest.fixture
def data_samples():
    return get_packed_inputs(
        2, input_size=(96, 128), heatmap_size=(24, 32))['data_samples']


@pytest.mark.parametrize('num_stages', [1, 2, 3])
def test_forward(head, feats, num_stages):
    module = head(num_stages=num_stages)
    assert list(module.parameters()) == [] and not module.state_dict()
    outs = module(feats[:num_stages])
    assert isinstance(outs, list) and len(outs) == num_stages
    for out, feat in zip(outs, feats):
        assert torch.equal(out, feat)


@pytest.mark.parametrize('num_maps', [0, 2, 4])
@pytest.mark.parametrize('deployed', [False, True])
def test_wrong_number_of_maps(head, num_maps, deployed):
    module = head()
    if deployed:
        module.switch_to_deploy()
    with pytest.raises(AssertionError, match='num_stages.*LAPXHead'):
        module(num_maps * (torch.rand(1, 17, 32, 24), ))


def literal_losses(feats, data_samples):
    """Mean squared error of each stage, invisible key points left out."""
    losses = []
    for heatmaps in feats:
        error = 0
        for maps, sample in zip(heatmaps, data_samples):
            weights = sample.gt_instance_labels.keypoint_weights[0]
            for k in range(17):
                difference = maps[k] - sample.gt_fields.heatmaps[k]
                error = error + (weights[k] * difference**2).sum()
        losses.append(error / heatmaps.numel())
    return losses


@pytest.fixture
def hidden(data_samples):
    """Data samples of which one has an invisible key point."""
    data_samples[0].gt_instance_labels.keypoint_weights[0, 3] = 0
    return data_samples


def test_loss(head, feats, hidden):
    for feat in feats:
        feat.requires_grad_()
    losses = head().loss(feats, hidden)
    assert set(losses) == {'loss_kpt', 'acc_pose'}
    expected = literal_losses(feats, hidden)
    assert len({round(loss.item(), 4) for loss in expected}) == 3
    torch.testing.assert_close(losses['loss_kpt'], sum(expected))
    losses['loss_kpt'].backward()
    for feat in feats:
        assert feat.grad[0, 3].abs().max() == 0
        assert feat.grad[1, 3].abs().min() > 0


def test_loss_per_stage(head, feats, hidden):
    weights = [0.5, 0.25, 2.]
    module = head(loss=[
        dict(
            type='KeypointMSELoss', use_target_weight=True, loss_weight=weight)
        for weight in weights
    ])
    expected = sum(
        weight * loss
        for weight, loss in zip(weights, literal_losses(feats, hidden)))
    torch.testing.assert_close(
        module.loss(feats, hidden)['loss_kpt'], expected)


def test_wrong_number_of_losses(head):
    with pytest.raises(ValueError, match='2.*num_stages.*3'):
        head(loss=[dict(type='KeypointMSELoss')] * 2)


def test_accuracy_is_the_last_stages(head, feats, data_samples):
    target = torch.stack([one.gt_fields.heatmaps for one in data_samples])
    wrong = torch.rand_like(target)
    accuracies = [
        head().loss(feats, data_samples)['acc_pose'].item()
        for feats in ((wrong, wrong, target), (target, target, wrong))
    ]
    assert accuracies[0] == 1 > accuracies[1]


@pytest.mark.parametrize('codec', CODECS)
@torch.no_grad()
def test_predict(head, feats, data_samples, codec):
    preds = head(codec).predict(feats, data_samples)
    decoder = KEYPOINT_CODECS.build(CODECS[codec])
    assert len(preds) == 2
    for pred, heatmaps in zip(preds, feats[-1]):
        assert isinstance(pred, InstanceData)
        keypoints, scores = decoder.decode(heatmaps.numpy())
        assert pred.keypoints.shape == (1, 17, 2)
        assert np.array_equal(pred.keypoints, keypoints)
        assert np.array_equal(pred.keypoint_scores, scores)


@pytest.mark.parametrize('codec, shift', [('msra', True), ('udp', False)])
@torch.no_grad()
def test_flip_test(head, feats, data_samples, codec, shift):
    flipped = tuple(torch.randn_like(feat) for feat in feats)
    preds, fields = head(codec).predict([feats, flipped], data_samples,
                                        dict(
                                            flip_test=True,
                                            flip_mode='heatmap',
                                            shift_heatmap=shift,
                                            output_heatmaps=True))
    indices = data_samples[0].metainfo['flip_indices']
    mirrored = flipped[-1][:, indices].flip(3)
    if shift:
        mirrored = torch.cat((mirrored[..., :1], mirrored[..., :-1]), 3)
    expected = (feats[-1] + mirrored) / 2
    decoder = KEYPOINT_CODECS.build(CODECS[codec])
    assert len(preds) == len(fields) == 2
    for pred, field, heatmaps in zip(preds, fields, expected):
        assert isinstance(field, PixelData)
        torch.testing.assert_close(field.heatmaps, heatmaps)
        keypoints, _ = decoder.decode(heatmaps.numpy())
        assert np.allclose(pred.keypoints, keypoints, atol=1e-3)


def peaks():
    """Heat maps that a codec decodes without ambiguity, as after training."""
    codec = KEYPOINT_CODECS.build(MSRA)
    maps = []
    for _ in range(2):
        keypoints = 20 + np.random.RandomState(len(maps)).rand(1, 17, 2) * 56
        maps.append(
            torch.from_numpy(
                codec.encode(keypoints.astype(np.float32))['heatmaps']))
    return torch.stack(maps) + 0.01 * torch.rand(2, 17, 32, 24)


@pytest.mark.parametrize('codec', CODECS)
@torch.no_grad()
def test_deploy_mode(head, feats, data_samples, codec):
    module = head(codec)
    feats = feats[:2] + (peaks(), )
    module.switch_to_deploy()
    keypoints, scores = module(feats)
    assert keypoints.shape == (2, 17, 2) and scores.shape == (2, 17)
    decoder = KEYPOINT_CODECS.build(CODECS[codec])
    for i in range(2):
        wanted, wanted_scores = decoder.decode(feats[-1][i].numpy())
        assert np.allclose(keypoints[i], wanted[0], atol=1e-2)
        assert np.allclose(scores[i], wanted_scores[0])
    assert not module.state_dict()
    traced = torch.jit.trace(module, (feats, ), check_trace=False)
    torch.testing.assert_close(traced(feats)[0], keypoints)


@pytest.mark.parametrize('module', [
    LAPXHead(17, 1, decoder=MSRA),
    LGMHead(17, 17, decoder=MSRA),
])
def test_deploy_mode_only_forwards(module, feats, data_samples):
    feats = feats[-1:]
    module.loss(feats, data_samples)
    module.predict(feats, data_samples)
    module.switch_to_deploy()
    for run in (module.loss, module.predict):
        with pytest.raises(RuntimeError, match='deploy mode') as error:
            run(feats, data_samples)
        assert type(module).__name__ in str(error.value)


class SameDevice(TorchFunctionMode):
    """Refuse to compute with tensors on different devices, as CUDA does."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        devices = {x.device.type for x in args if isinstance(x, Tensor)}
        assert len(devices) < 2 or func is Tensor.to, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('codec', CODECS)
@torch.no_grad()
def test_deploy_mode_on_another_device(head, codec):
    """The head has no weights that would tell the device of its maps."""
    module = head(codec)
    module.switch_to_deploy()
    feats = 3 * (torch.empty(2, 17, 32, 24, device='meta'), )
    with SameDevice():
        keypoints, scores = module(feats)
    assert keypoints.device.type == scores.device.type == 'meta'


@pytest.fixture(scope='module')
def model(build, randomize):

    def model(codec='msra'):
        return randomize(
            build(
                'td-hm_lapx_8xb64-210e_coco-256x192',
                model__backbone__channels=32,
                model__backbone__depth=1,
                model__head__decoder=CODECS[codec])).eval()

    return model


def test_model(model):
    model = model()
    data = get_packed_inputs(
        2, img_shape=(128, 96), input_size=(96, 128), heatmap_size=(24, 32))
    inputs = model.data_preprocessor(data, training=True)
    outs = model(**inputs, mode='tensor')
    assert [tuple(out.shape) for out in outs] == [(2, 17, 32, 24)] * 3
    losses = model(**inputs, mode='loss')
    assert set(losses) == {'loss_kpt', 'acc_pose'}
    expected = literal_losses(outs, inputs['data_samples'])
    torch.testing.assert_close(losses['loss_kpt'], sum(expected))
    losses['loss_kpt'].backward()
    for stage in model.backbone.stages:
        assert stage.score.weight.grad.abs().max() > 0

    assert model.test_cfg['flip_test'] and model.test_cfg['shift_heatmap']
    model.test_cfg['output_heatmaps'] = True
    with torch.no_grad():
        results = model(**inputs, mode='predict')
    for result in results:
        assert result.pred_instances.keypoints.shape == (1, 17, 2)
        assert result.pred_instances.keypoint_scores.shape == (1, 17)
        assert result.pred_fields.heatmaps.shape == (17, 32, 24)
    # the mirrored image's heat maps count as much as the image's own
    indices = inputs['data_samples'][0].metainfo['flip_indices']
    with torch.no_grad():
        mirrored = model(inputs['inputs'].flip(3), None, mode='tensor')[-1]
    mirrored = mirrored[:, indices].flip(3)
    mirrored = torch.cat((mirrored[..., :1], mirrored[..., :-1]), 3)
    for i, result in enumerate(results):
        torch.testing.assert_close(
            result.pred_fields.heatmaps, (outs[-1][i] + mirrored[i]) / 2,
            atol=1e-4,
            rtol=1e-4)


@torch.no_grad()
def test_model_in_deploy_mode(model, switch_to_deploy):
    model = model('udp')
    x = torch.randn(2, 3, 128, 96)
    heatmaps = model(x, None, mode='tensor')[-1]
    names = set(model.state_dict())
    switch_to_deploy(model)
    keypoints, scores = model(x, None, mode='tensor')
    for i in range(2):
        wanted, wanted_scores = model.head.decoder.decode(heatmaps[i].numpy())
        assert np.allclose(scores[i], wanted_scores[0])
        difference = np.abs(keypoints[i].numpy() - wanted[0])
        assert np.median(difference) < 1e-3
    assert set(model.state_dict()) == names
    model.forward = model._forward
    traced = torch.jit.trace(model, x, check_trace=False)
    out, out_scores = traced(x)
    torch.testing.assert_close(out_scores, scores, atol=1e-4, rtol=1e-4)
    # where the maximum is flat, rounding moves it
    assert (out - keypoints).abs().median() < 1e-3
