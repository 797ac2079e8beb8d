"""Networks by short name."""
import pytest
import torch
from mmengine.model import PretrainedInit

from lgm_pose_plugin.benchmark.networks import build_network
from lgm_pose_plugin.cli import main
from lgm_pose_plugin.model_index import NETWORKS
from lgm_pose_plugin.models import builder as networks


@pytest.fixture(autouse=True)
def no_network(monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError('the network was used')

    monkeypatch.setattr('socket.socket.connect', refuse)
    monkeypatch.setattr('mmengine.runner.checkpoint.load_checkpoint', refuse)


@pytest.mark.e2e
@pytest.mark.parametrize('name', NETWORKS)
def test_networks(name):
    network = build_network(name, (128, 96))
    with torch.inference_mode():
        out = network(torch.rand(1, 3, 128, 96), None, mode='tensor')
    shapes = {
        'lgm-pose-fast-simcc': [(1, 17, 192), (1, 17, 256)],
        'rtmpose-t': [(1, 17, 192), (1, 17, 256)],
        'rtmpose-s': [(1, 17, 192), (1, 17, 256)],
        'lapx': [(1, 17, 32, 24)] * 3,
        'lap': [(1, 17, 32, 24)] * 2
    }
    out = [out] if isinstance(out, torch.Tensor) else out
    assert [o.shape for o in out] == shapes.get(name, [(1, 17, 32, 24)])
    assert all(o.isfinite().all() for o in out)
    assert not any(module.training for module in network.modules())
    assert not any(
        isinstance(module, torch.nn.SyncBatchNorm)
        for module in network.modules())


def test_values_keep_their_scale():
    """With random weights alone ViPNAS's outputs are below 1e-40."""
    network = build_network('vipnas-mbv3', (128, 96))
    with torch.inference_mode():
        out = network(torch.randn(1, 3, 128, 96), None, mode='tensor')
    assert 1e-4 < out.std() < 1


def test_load_config():
    name = 'mmpose::' + NETWORKS['rtmpose-t'].partition('::')[2]
    assert networks.load_config(name).model.head.type == 'RTMCCHead'
    mpii = NETWORKS['lgm-pose-mobilevit']
    cfg = networks.load_config(mpii)
    assert cfg.model.head.out_channels == 16
    assert networks.load_config(cfg.filename).model == cfg.model
    assert networks.load_config('lgm-pose-mobilevit').model == cfg.model


@pytest.mark.parametrize('options, found', [
    ({
        'model.backbone.act_cfg.type': 'Relu'
    }, 'cannot be built: KeyError.*Relu'),
    ({
        'model.backbone.nosuch': 1
    }, 'cannot be built: TypeError.*nosuch'),
    ({
        'test_dataloader.dataset.pipeline.99.x': 1
    }, 'does not take the options .*99'),
])
def test_options(options, found):
    with pytest.raises(ValueError, match=f'lgm-pose_1xb32.*py.* {found}'):
        networks.build_model(networks.load_config('lgm-pose', options))
    cfg = networks.load_config('lgm-pose', {'model.test_cfg.flip_test': False})
    assert cfg.model.test_cfg.flip_test is False


@pytest.mark.parametrize('text, found', [
    ('a = (', 'broken.py cannot be read as a config: SyntaxError: '),
    ("_base_ = 'gone.py'",
     'broken.py cannot be read as a config: FileNotFoundError: .*gone'),
    ("model = dict(type='mmpose.MissingEstimator')",
     'broken.py cannot be built: KeyError.*MissingEstimator'),
])
def test_broken_configs(tmp_path, capsys, text, found):
    path = tmp_path / 'broken.py'
    path.write_text(text)
    with pytest.raises(ValueError, match=found):
        build_network(str(path), (64, 64))
    assert main(['complexity', str(path)]) == 1
    line, = capsys.readouterr().err.strip().splitlines()
    assert line.startswith('lgm-pose complexity: ') and str(path) in line


@pytest.mark.promise('model-names')
@pytest.mark.parametrize('name', [
    'td-hm_lgm-pose_1xb32-260e_mpii-256x256', 'lgm-pose_lsp-256x192',
    'td-hm_lgm-pose_1xb16-12e_lsp-256x192'
])
def test_models_of_the_index(name):
    cfg = networks.load_config(name)
    assert cfg.model.head.out_channels == (16 if 'mpii' in name else 14)


@pytest.mark.parametrize(
    'name', ['resnet', 'nowhere/config.py', 'mmpose::no.py', 'absent::a.py'])
def test_unknown_config(name):
    with pytest.raises(ValueError, match=f'{name}.*lgm-pose-l.*rtmpose-t'):
        build_network(name, (256, 192))


@pytest.mark.parametrize('text', [
    'a = 1',
    "model = dict(type='mmpose.BottomupPoseEstimator', "
    "backbone=dict(type='mmpose.MobileNetV2', out_indices=(7, )), "
    "head=dict(type='mmpose.HeatmapHead', in_channels=1280, "
    'out_channels=17))',
])
def test_not_top_down(tmp_path, text):
    path = tmp_path / 'other.py'
    path.write_text(text)
    with pytest.raises(ValueError, match='other.py does not define a top'):
        build_network(str(path), (64, 64))


def test_outputs():
    heat = torch.zeros(1, 2, 3, 3)
    assert networks.last_maps(heat)[0] is heat
    assert networks.last_maps([heat + 1, heat])[0] is heat
    simcc = (torch.zeros(1, 2, 6), torch.zeros(1, 2, 8))
    assert networks.last_maps(simcc) == simcc
    for other in (torch.zeros(1, 2, 2), (heat[0], ), [], {}, (heat, None),
                  (heat, simcc[0]), (heat, heat[:, 1:]), simcc[:1]):
        with pytest.raises(ValueError, match='as regression and bottom-up'):
            networks.last_maps(other)


def test_pretrained_weights_in_lists_are_not_loaded():
    cfg = networks.load_config('mobilenetv2')
    pretrained = dict(
        type='Pretrained', checkpoint='https://example.org/net.pth')
    cfg.model.backbone.init_cfg = [pretrained]
    # As a pure Python config has it.
    cfg.model.head.init_cfg = [dict(pretrained, type=PretrainedInit)]
    model = networks.build_model(cfg)
    # They get what they have by default.
    assert 'Pretrained' not in str(model.backbone.init_cfg)
    std = model.head.final_layer.weight.std().item()
    assert std == pytest.approx(.001, rel=.1)
    assert cfg.model.backbone.init_cfg[0].type == 'Pretrained'
