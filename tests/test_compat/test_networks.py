"""Whole networks give the same with the plugin's operators as with mmcv's."""
import sys

import mmdet.models  # noqa: F401
import mmpose.models  # noqa: F401
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample

from lgm_pose_plugin.compat import mmcv_ops

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not sys.modules['mmcv._ext'].__file__.endswith(('.so', '.pyd')),
        reason="mmcv's operators are not compiled")
]
SIZE = (128, 160)  # height, width
META = dict(
    img_id=0,
    img_shape=SIZE,
    ori_shape=SIZE,
    batch_input_shape=SIZE,
    pad_shape=SIZE,
    scale_factor=(1., 1.),
    input_size=SIZE[::-1],
    input_center=np.array([80., 64.]),
    input_scale=np.array([160., 128.]))


def without_weights(cfg):
    """Remove the files of weights that a config asks for."""
    if isinstance(cfg, dict):
        if cfg.get('init_cfg', {}).get('type') == 'Pretrained':
            del cfg['init_cfg']
        for value in cfg.values():
            without_weights(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            without_weights(value)


@pytest.fixture
def build(randomize):
    """Build a network from a config of MMDetection or MMPose."""

    def build(config):
        try:
            cfg = get_config(config).model
        except (FileNotFoundError, ValueError):
            pytest.skip(f'MMPose 1.1 has no {config}')
        without_weights(cfg)
        with DefaultScope.overwrite_default_scope(config.split('::')[0]):
            # Which torch 1 has on GPUs alone.
            model = revert_sync_batchnorm(MODELS.build(cfg))
            return randomize(model).eval()

    return build


@pytest.fixture
def in_both_ways(monkeypatch):
    """Call a function with mmcv's operators, then with the plugin's.

    Returns what it returns, and the names of the operators it called.
    """

    def call(function):
        torch.manual_seed(0)
        expected = function()
        called = set()

        class Operators:

            def __getattr__(self, name):
                called.add(name)
                return getattr(mmcv_ops, name)

        for name, module in list(sys.modules.items()):
            if name.startswith('mmcv.ops.') and hasattr(module, 'ext_module'):
                monkeypatch.setattr(module, 'ext_module', Operators())
        torch.manual_seed(0)
        return expected, function(), called

    return call


def run(model, sample, mode, **fields):
    images = [torch.randint(256, (3, *SIZE), dtype=torch.uint8)] * 2
    samples = [sample(metainfo=META, **fields) for _ in images]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples))
    return model(**data, mode=mode)


@pytest.mark.parametrize('config, sample, operators', [
    ('mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', DetDataSample, {'nms'}),
    ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', DetDataSample,
     {'nms', 'roi_align_forward'}),
    ('mmpose::body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py',
     PoseDataSample, set()),
])
def test_predictions(build, in_both_ways, config, sample, operators):
    model = build(config)

    def predict():
        with torch.no_grad():
            return run(model, sample, 'predict')

    expected, found, called = in_both_ways(predict)
    assert called == operators
    for wanted, prediction in zip(expected, found):
        wanted, prediction = wanted.pred_instances, prediction.pred_instances
        assert len(wanted) > 10
        assert list(wanted.keys()) == list(prediction.keys())
        for name, value in wanted.items():
            torch.testing.assert_close(
                torch.as_tensor(prediction[name]), torch.as_tensor(value))


def test_training(build, in_both_ways):
    model = build('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py').train()
    instances = InstanceData(
        bboxes=torch.tensor([[10., 20., 90., 100.], [50., 5., 150., 60.]]),
        labels=torch.tensor([3, 60]))

    def train():
        model.zero_grad()
        losses = run(
            model, DetDataSample, 'loss', gt_instances=instances.clone())
        loss, losses = model.parse_losses(losses)
        loss.backward()
        return losses, {
            name: value.grad.clone()
            for name, value in model.named_parameters()
            if value.grad is not None
        }

    expected, found, called = in_both_ways(train)
    assert called == {'nms', 'roi_align_forward', 'roi_align_backward'}
    torch.testing.assert_close(found, expected)
