import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import KEYPOINT_CODECS
from mmpose.testing import get_packed_inputs

from lgm_pose_plugin.models.heads import LGMHead

CODECS = dict(
    msra=dict(
        type='MSRAHeatmap',
        input_size=(96, 128),
        heatmap_size=(24, 32),
        sigma=2),
    dark=dict(
        type='MSRAHeatmap',
        input_size=(96, 128),
        heatmap_size=(24, 32),
        sigma=2,
        unbiased=True,
        blur_kernel_size=11),
    udp=dict(
        type='UDPHeatmap',
        input_size=(96, 128),
        heatmap_size=(24, 32),
        sigma=2))


@pytest.fixture
def head(randomize):

    def head(codec='msra', **kwargs):
        return randomize(LGMHead(8, 17, decoder=CODECS[codec], **kwargs))

    return head


@pytest.fixture
def feats():
    return tuple(torch.randn(2, width, 32, 24) for width in (5, 8))


@pytest.fixture
def data_samples():
    return get_packed_inputs(
        2, input_size=(96, 128), heatmap_size=(24, 32))['data_samples']


def test_forward(head, feats):
    module = head()
    weight = module.final_layer.weight
    assert weight.shape == (17, 8, 1, 1)
    assert sum(p.numel() for p in module.parameters()) == 17 * 8 + 17
    expected = torch.einsum('bchw,kc->bkhw', feats[-1], weight[:, :, 0, 0])
    expected = expected + module.final_layer.bias[:, None, None]
    torch.testing.assert_close(module(feats), expected)


def test_init_weights():
    module = LGMHead(8, 17)
    module.init_weights()
    assert 0 < module.final_layer.weight.std() < 0.002
    assert module.final_layer.bias.abs().max() == 0


def test_loss(head, feats, data_samples):
    module = head()
    data_samples[0].gt_instance_labels.keypoint_weights[0, 3] = 0
    losses = module.loss(feats, data_samples)
    assert set(losses) == {'loss_kpt', 'acc_pose'}
    target = torch.stack([one.gt_fields.heatmaps for one in data_samples])
    error = (module(feats) - target)**2
    error[0, 3] = 0
    torch.testing.assert_close(losses['loss_kpt'], error.mean())
    losses['loss_kpt'].backward()
    assert module.final_layer.weight.grad.abs().sum() > 0
    assert 'acc_pose' not in module.loss(feats, data_samples,
                                         dict(compute_acc=False))


@pytest.mark.parametrize('codec', CODECS)
@torch.no_grad()
def test_predict(head, feats, data_samples, codec):
    module = head(codec)
    preds = module.predict(feats, data_samples)
    decoder = KEYPOINT_CODECS.build(CODECS[codec])
    for pred, heatmaps in zip(preds, module(feats)):
        assert isinstance(pred, InstanceData)
        keypoints, scores = decoder.decode(heatmaps.numpy())
        assert pred.keypoints.shape == (1, 17, 2)
        assert np.array_equal(pred.keypoints, keypoints)
        assert np.array_equal(pred.keypoint_scores, scores)


SOFTMAX = dict(CODECS['udp'], type='SoftmaxUDPHeatmap')


@pytest.mark.parametrize('decoder, loss', [
    (SOFTMAX, 'KeypointMSELoss'),
    (CODECS['udp'], 'KeypointCrossEntropyLoss'),
    (CODECS['msra'], 'KeypointCrossEntropyLoss'),
])
def test_loss_and_codec_go_together(decoder, loss):
    match = f'{loss} does not train what {decoder["type"]} decodes'
    with pytest.raises(ValueError, match=match):
        LGMHead(8, 17, loss=dict(type=loss), decoder=decoder)


def test_heat_maps_of_logits(randomize, feats, data_samples):
    head = randomize(
        LGMHead(
            8, 17, loss=dict(type='KeypointCrossEntropyLoss'),
            decoder=SOFTMAX))
    _, fields = head.predict(feats, data_samples, dict(output_heatmaps=True))
    logits = head(feats)
    for field, maps in zip(fields, logits):
        expected = maps.flatten(1).softmax(1) * head.decoder.mass
        torch.testing.assert_close(field.heatmaps.flatten(1), expected)
    found = head.predict(feats, data_samples, {})
    assert found[0].keypoints.shape == (1, 17, 2)


def test_maps_of_another_size_than_the_decoders(head, data_samples):
    feats = (torch.randn(2, 8, 32, 32), )
    match = 'maps are 32x32, the decoder.* is 32x24'
    module = head()
    with pytest.raises(ValueError, match=match):
        module.predict(feats, data_samples)
    module.switch_to_deploy()
    with pytest.raises(ValueError, match=match):
        module(feats)


@pytest.mark.parametrize('shift', [False, True])
@torch.no_grad()
def test_flip_test(head, feats, data_samples, shift):
    module = head()
    flipped = tuple(torch.randn_like(feat) for feat in feats)
    preds, fields = module.predict([feats, flipped], data_samples,
                                   dict(
                                       flip_test=True,
                                       flip_mode='heatmap',
                                       shift_heatmap=shift,
                                       output_heatmaps=True))
    indices = data_samples[0].metainfo['flip_indices']
    mirrored = module(flipped)[:, indices].flip(3)
    if shift:
        mirrored = torch.cat((mirrored[..., :1], mirrored[..., :-1]), 3)
    expected = (module(feats) + mirrored) / 2
    assert len(preds) == len(fields) == 2
    for field, heatmaps in zip(fields, expected):
        assert isinstance(field, PixelData)
        torch.testing.assert_close(field.heatmaps, heatmaps)


@pytest.fixture
def model(build, randomize):

    def model(codec='msra'):
        model = build(
            'td-hm_lgm-pose_1xb32-260e_coco-256x192',
            model__backbone__input_size=(96, 128),
            model__head__decoder=CODECS[codec])
        return randomize(model).eval()

    return model


@pytest.mark.promise('deploy-mode')
@pytest.mark.parametrize('codec', CODECS)
@torch.no_grad()
def test_model_in_deploy_mode(model, switch_to_deploy, codec):
    model = model(codec)
    x = torch.randn(2, 3, 128, 96)
    heatmaps = model(x, None, mode='tensor')
    assert heatmaps.shape == (2, 17, 32, 24)
    names = set(model.state_dict())
    switch_to_deploy(model)
    keypoints, scores = model(x, None, mode='tensor')
    assert keypoints.shape == (2, 17, 2) and scores.shape == (2, 17)
    for i in range(2):
        wanted, wanted_scores = model.head.decoder.decode(heatmaps[i].numpy())
        assert np.allclose(scores[i], wanted_scores[0])
        difference = np.abs(keypoints[i].numpy() - wanted[0])
        assert np.median(difference) < 5e-3
    # neither the weights nor a second call change anything
    assert set(model.state_dict()) == names
    switch_to_deploy(model)
    assert torch.equal(model(x, None, mode='tensor')[0], keypoints)
    model.forward = model._forward
    traced = torch.jit.trace(model, x, check_trace=False)
    # Random maps have flat maxima, which rounding moves.
    difference = (traced(x)[0] - keypoints).abs()
    assert difference.median() < 1e-3
    assert (difference < 1e-2).float().mean() > 0.8


@torch.no_grad()
def test_model_loss_and_predict(model, switch_to_deploy):
    model = model()
    data = get_packed_inputs(
        2, img_shape=(128, 96), input_size=(96, 128), heatmap_size=(24, 32))
    losses = model.forward(
        **model.data_preprocessor(data, training=True), mode='loss')
    assert set(losses) == {'loss_kpt', 'acc_pose'}
    assert losses['loss_kpt'].isfinite()
    assert model.test_cfg['flip_test'] and model.test_cfg['shift_heatmap']
    model.test_cfg['output_heatmaps'] = True
    results = model.test_step(data)
    for result in results:
        assert result.pred_instances.keypoints.shape == (1, 17, 2)
        assert result.pred_instances.keypoint_scores.shape == (1, 17)
        assert result.pred_fields.heatmaps.shape == (17, 32, 24)
    switch_to_deploy(model)
    with pytest.raises(RuntimeError, match='deploy mode'):
        model.test_step(data)


@pytest.mark.parametrize('decoder', [
    None,
    dict(
        type='SimCCLabel',
        input_size=(96, 128),
        simcc_split_ratio=2.,
        sigma=6.),
])
def test_decoder_that_cannot_be_deployed(decoder):
    module = LGMHead(8, 17, decoder=decoder)
    with pytest.raises(ValueError, match='MSRAHeatmap, UDPHeatmap'):
        module.switch_to_deploy()
    assert isinstance(module((torch.rand(1, 8, 4, 4), )), torch.Tensor)
