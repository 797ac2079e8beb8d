"""Operators that phones' runtimes have compute the same as the network's."""
import pytest
import torch
from torch import nn

from lgm_pose_plugin.models import builder as networks
from lgm_pose_plugin.models.layers.fast_larm import FastLARM
from lgm_pose_plugin.models.layers.larm import LARM

pytest.importorskip('onnx')
from lgm_pose_plugin.export import equivalents, graph  # noqa: E402


@pytest.fixture
def exported(small_network, load_config, randomize):
    """A small network as it is exported, with what it takes."""

    def make(name, batch=1):
        config, options, checkpoint = small_network(name)
        cfg = networks.load_config(config)
        cfg.merge_from_dict(options)
        model = networks.build_model(cfg, checkpoint)
        width, height = model.head.decoder.input_size
        images = torch.randint(
            256, (batch, height, width, 3), dtype=torch.uint8)
        return graph.ExportedNetwork(model, True, False).eval(), images

    return make


@torch.no_grad()
@pytest.mark.parametrize('name', ['lgm', 'softmax', 'lapx', 'rtmpose'])
def test_network(exported, name):
    network, images = exported(name, batch=2)
    expected = network(images)
    changed = equivalents.with_equivalents(network)
    for found, wanted in zip(changed(images), expected):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    # The network itself stays.
    for found, wanted in zip(network(images), expected):
        assert torch.equal(found, wanted)
    kinds = {type(module).__name__ for module in network.modules()}
    assert not kinds & {'CroppedDeconv', 'PairConv'}


@pytest.mark.e2e
@torch.no_grad()
def test_operators(exported):
    """None that a runtime of phones does not take."""
    network, images = exported('lgm')
    changed = equivalents.with_equivalents(network)
    program = torch.export.export(changed, (images, ))
    for node in program.graph.nodes:
        if node.op != 'call_function':
            continue
        value = node.meta['val']
        sizes = getattr(value, 'shape', ())
        assert len(sizes) <= 4, node
        assert 'index' not in str(node.target), node
    for module in changed.modules():
        assert not getattr(module, 'inplace', False)
        if isinstance(module, nn.ConvTranspose2d):
            assert not any(module.output_padding)
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels
            assert module.groups == 1 or depthwise


@torch.no_grad()
@pytest.mark.parametrize('larm', [LARM, FastLARM])
@pytest.mark.parametrize('size, patch', [((8, 12), (4, 3)), ((5, 7), (2, 4))])
def test_larm(randomize, larm, size, patch):
    layer = randomize(larm(size, patch)).eval()
    x = torch.randn(2, 6, *size)
    expected = layer(x)
    equivalents.rewrite_larm(layer)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize('kernel, padding, output_padding', [(3, 1, 1),
                                                             (4, 1, 0),
                                                             (3, 0, 1),
                                                             (5, 2, 1)])
def test_deconvolution(kernel, padding, output_padding):
    conv = nn.ConvTranspose2d(4, 6, kernel, 2, padding, output_padding)
    x = torch.randn(1, 4, 5, 7)
    expected = conv(x)
    if padding < output_padding:
        # The rows that it adds are beyond the whole.
        with pytest.raises(ValueError, match='output padding'):
            equivalents.CroppedDeconv(conv)
        return
    torch.testing.assert_close(
        equivalents.CroppedDeconv(conv)(x), expected, atol=1e-5, rtol=1e-5)
