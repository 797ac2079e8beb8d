"""MMPose trains and runs the networks that the papers compare with."""
import pytest
import torch
from mmpose.testing import get_packed_inputs

from lgm_pose_plugin.models.builder import build_model, load_config

NAMES = ['lpn50', 'cpn50', 'tokenpose-b', 'hrformer-t']
pytestmark = pytest.mark.e2e


@pytest.fixture
def network(small_network):

    def network(name):
        path, options, checkpoint = small_network(name)
        cfg = load_config(path)
        cfg.merge_from_dict(options)
        return build_model(cfg, checkpoint)

    return network


@pytest.fixture
def batch():
    return get_packed_inputs(
        2,
        num_keypoints=17,
        img_shape=(128, 96),
        input_size=(96, 128),
        heatmap_size=(24, 32))


@pytest.mark.parametrize('name', NAMES)
def test_losses_reach_all_weights(network, batch, name):
    model = network(name).train()
    data = model.data_preprocessor(batch, training=True)
    losses = model(**data, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert loss > 0 and {'loss_kpt', 'acc_pose'} == set(losses)
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_predicts_with_a_flip_test(network, batch, name):
    model = network(name).eval()
    assert model.test_cfg['flip_test']
    data = model.data_preprocessor(batch, training=False)
    samples = model(**data, mode='predict')
    assert len(samples) == 2
    for sample in samples:
        assert sample.pred_instances.keypoints.shape == (1, 17, 2)
