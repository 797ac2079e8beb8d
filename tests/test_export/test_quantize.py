"""Quantised files; test_export.py makes them by `lgm-pose export`."""
import functools
import json

import numpy as np
import pytest
import torch

from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.export import graph, onnx_file
from lgm_pose_plugin.models import builder as networks

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
openvino = pytest.importorskip('openvino')
pytest.importorskip('nncf')
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from lgm_pose_plugin.export import quantize  # noqa: E402
from lgm_pose_plugin.runtime import open_session, session  # noqa: E402
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime  # noqa: E402

pytestmark = pytest.mark.e2e

SMALL = (96, 128)


@pytest.fixture(scope='module')
def float_file(tmp_path_factory, small_network):
    """Path of a small network's ONNX file; each is made once."""

    @functools.lru_cache(maxsize=None)
    def make(name, normalize=True, decode=True, batch=None):
        config, options, checkpoint = small_network(name)
        cfg = networks.load_config(config)
        cfg.merge_from_dict(options)
        model = networks.build_model(cfg, checkpoint)
        metadata = graph.describe(cfg, model, normalize, decode)
        width, height = metadata['input_size']
        example = torch.zeros(batch or 2, height, width, 3, dtype=torch.uint8)
        if not normalize:
            example = example.permute(0, 3, 1, 2).float()
        file = str(tmp_path_factory.mktemp('float') / f'{name}.onnx')
        network = graph.ExportedNetwork(model, normalize, decode).eval()
        decoded, maps = onnx_file.to_onnx(network, example, file, not batch)
        onnx_file.finish_onnx(file, file, decoded + maps, metadata)
        return file

    return make


@pytest.fixture(scope='module')
def crops():
    rng = np.random.default_rng(0)
    return np.stack([render_image(rng, SMALL)[0] for _ in range(6)])


def convolution(name, inputs, outputs, groups):
    """A 3x3 convolution of 4 channels, and its weight."""
    shape = (4, 4 // groups, 3, 3)
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    node = helper.make_node(
        'Conv', [inputs, name + '_w'], [outputs],
        name,
        group=groups,
        pads=[1] * 4)
    return node, numpy_helper.from_array(weight, name + '_w')


def graph_of(outputs='heatmaps'):
    """A network with one of each kind of node the rule speaks of."""
    places = dict(
        first=('scaled', 'a', 1),
        middle=('b', 'c', 1),
        depthwise=('c', 'd', 4),
        paired=('d', 'e', 2),
        after=('e', 'f', 1),
        late=('m', 'q', 1),
        final=('q', 'maps', 1),
        blur=(outputs, 'blurred', 1))
    convolutions = {
        name: convolution(name, *place)
        for name, place in places.items()
    }
    node = {name: one[0] for name, one in convolutions.items()}
    make = helper.make_node
    nodes = [
        make('Div', ['images', 'scale'], ['scaled'], 'normalize'),
        node['first'],
        make('Relu', ['a'], ['b'], 'relu'),
        node['middle'],
        node['depthwise'],
        node['paired'],
        node['after'],
        make('Add', ['f', 'd'], ['g'], 'add'),
        make('Shape', ['g'], ['size'], 'shape'),
        make('Reshape', ['g', 'size'], ['h'], 'reshape'),
        make('MatMul', ['h', 'matrix'], ['k'], 'matmul'),
        make('Mul', ['k', 'scale'], ['l'], 'scale_it'),
        make('Add', ['l', 'g'], ['m'], 'add_float'),
        node['late'],
        node['final'],
        make('Sigmoid', ['maps'], [outputs], 'sigmoid'),
        node['blur'],
        make('Mul', ['blurred', 'scale'], ['keypoints'], 'decode'),
    ]
    return helper.make_graph(
        nodes, 'g', [helper.make_tensor_value_info('images', 1, [1, 4, 8, 8])],
        [
            helper.make_tensor_value_info(name, 1, None)
            for name in (outputs, 'keypoints')
        ], [one[1] for one in convolutions.values()] + [
            numpy_helper.from_array(np.float32(3), 'scale'),
            numpy_helper.from_array(np.eye(8, dtype=np.float32), 'matrix'),
        ])


@pytest.mark.promise('int8')
def test_what_stays_in_float():
    kept = quantize.float_node_names(graph_of())
    assert kept == [
        'normalize', 'first', 'relu', 'paired', 'matmul', 'scale_it',
        'add_float', 'final', 'sigmoid', 'blur', 'decode'
    ]
    with pytest.raises(ValueError, match='computes none of heatmaps, simcc_x'):
        quantize.float_node_names(graph_of('something'))


@pytest.mark.parametrize('name', ['udp', 'lapx', 'rtmpose'])
def test_rule_on_networks(float_file, name):
    graph = onnx.load(float_file(name)).graph
    kept = set(quantize.float_node_names(graph))
    convolutions = [
        node for node in graph.node if node.op_type in (
            'Conv', 'ConvTranspose') and not node.name.startswith('/decoder')
    ]
    stay = [node for node in convolutions if node.name in kept]
    # Of rtmpose the last are matrix products, of udp two fuse maps.
    assert len(stay) == dict(udp=4, lapx=2, rtmpose=1)[name]
    assert stay[0] is convolutions[0]
    assert len(convolutions) > 20
    for node in graph.node:
        if node.op_type in ('ArgMax', 'GatherElements', 'LayerNormalization',
                            'MatMul', 'Softmax', 'Where'):
            assert node.name in kept
    # LAPX has BatchNorms before convolutions; the others are folded.
    makers = {one: node for node in graph.node for one in node.output}
    norms = [
        makers[node.input[0]].op_type for node in graph.node
        if node.op_type == 'BatchNormalization'
    ]
    assert not {'Conv', 'ConvTranspose'}.intersection(norms)
    assert bool(norms) == (name == 'lapx')


def int8_weights(file):
    """How many convolutions have weights in int8."""
    if file.endswith('.xml'):
        return sum(
            op.get_type_name() == 'Constant'
            and op.get_element_type() == openvino.Type.i8
            for op in session.openvino_core().read_model(file).get_ops())
    graph = onnx.load(file).graph
    int8 = {
        one.name
        for one in graph.initializer if one.data_type == TensorProto.INT8
    }
    restored = {
        node.output[0]
        for node in graph.node
        if node.op_type == 'DequantizeLinear' and node.input[0] in int8
    }
    return sum(
        node.op_type in ('Conv', 'ConvTranspose') and node.input[1] in restored
        for node in graph.node)


CONVERT = dict(onnx=quantize.quantize_onnx, xml=quantize.quantize_openvino)


@pytest.mark.promise('int8')
@pytest.mark.parametrize('name, options, suffix', [
    ('lgm', {}, 'onnx'),
    ('lgm', dict(decode=False, batch=2), 'xml'),
    ('rtmpose', dict(normalize=False), 'onnx'),
])
def test_files(float_file, tmp_path, crops, name, options, suffix):
    source = float_file(name, **options)
    target = str(tmp_path / f'int8.{suffix}')
    before = open_session(source)
    width, height = json.loads(before.metadata)['input_size']
    inputs = np.ascontiguousarray(crops[:, :height, :width])
    if not options.get('normalize', True):
        inputs = (inputs.transpose(0, 3, 1, 2) / 64 - 2).astype(np.float32)
    # Of batches of two the last is filled up.
    kept = CONVERT[suffix](source, target, inputs[:5])
    graph = onnx.load(source).graph
    assert kept == quantize.float_node_names(graph)
    after = open_session(target)
    assert after.batch == before.batch == options.get('batch')
    expected, found = (one.run(inputs[4:6]) for one in (before, after))
    assert expected.keys() <= found.keys()
    for key, value in expected.items():
        assert found[key].shape == value.shape
        assert found[key].dtype == np.float32
    maps = list(expected)[-1]
    error = np.abs(expected[maps] - found[maps]).mean()
    assert 0 < error < .25 * expected[maps].std()
    assert int8_weights(target) == sum(
        node.op_type in ('Conv', 'ConvTranspose') and node.name not in kept
        for node in graph.node)


def test_rare_activations_do_not_coarsen_the_others(tmp_path):
    """Trained networks have some; with all of them scores move by .09."""
    rng = np.random.default_rng(0)
    crops = np.stack([render_image(rng, (192, 256))[0] for _ in range(16)])
    before = PoseRuntime('lgm-pose_body17-256x192')
    target = str(tmp_path / 'int8.onnx')
    quantize.quantize_onnx(before.file, target, crops[:6])
    _, expected = before.predict_crops(crops)
    _, found = PoseRuntime(target).predict_crops(crops)
    assert np.abs(found - expected).mean() < .06


def test_a_map_that_is_nearly_constant(float_file, tmp_path, crops):
    model = onnx.load(float_file('lgm'))
    makers = {name: node for node in model.graph.node for name in node.output}
    gates = [node for node in model.graph.node if node.op_type == 'Sigmoid']
    maker = next(makers[gate.input[0]] for gate in gates[1:]
                 if makers[gate.input[0]].op_type == 'Conv')
    for one in model.graph.initializer:
        if one.name in maker.input[1:]:
            small = numpy_helper.to_array(one) * np.float32(1e-7)
            one.CopyFrom(numpy_helper.from_array(small, one.name))
    source, target = (str(tmp_path / name) for name in ('a.onnx', 'b.onnx'))
    onnx.save(model, source)
    quantize.quantize_onnx(source, target, crops)
    maps = open_session(target).run(crops[:1])['heatmaps']
    assert np.isfinite(maps).all()


def test_weights_have_scales_by_channel_and_bits_as_asked(
        float_file, tmp_path, crops):
    largest = {}
    for reduce_range in (False, True):
        target = str(tmp_path / f'{reduce_range}.onnx')
        quantize.quantize_onnx(
            float_file('lgm'), target, crops[:1], reduce_range=reduce_range)
        graph = onnx.load(target).graph
        largest[reduce_range] = max(
            np.abs(numpy_helper.to_array(one).astype(int)).max()
            for one in graph.initializer
            if one.data_type == TensorProto.INT8 and one.dims)
    assert largest == {False: 127, True: 64}
    shapes = {one.name: list(one.dims) for one in graph.initializer}
    scales = [
        shapes[node.input[1]] for node in graph.node
        if node.op_type == 'DequantizeLinear'
        and len(shapes.get(node.input[0], ())) == 4
    ]
    assert len(scales) > 20
    assert all(len(shape) == 1 and shape[0] > 1 for shape in scales)


def test_fuse_silu(float_file, crops):
    core = session.openvino_core()
    model = core.read_model(float_file('lgm'))

    def count(kind):
        return sum(op.get_type_name() == kind for op in model.get_ops())

    def run():
        return core.compile_model(model, 'CPU')(crops[:2])['scores'].copy()

    expected, gates = run(), count('Sigmoid')
    assert quantize.fuse_silu(model) == gates > 20
    assert count('Sigmoid') == 0 and count('Swish') == gates
    np.testing.assert_allclose(run(), expected, atol=.05)


@pytest.mark.parametrize('body, match', [
    ('import os; os.kill(os.getpid(), 11)', 'exit status -11'),
    ('raise RuntimeError("no such kernel")', 'exit status 1.*no such kernel'),
])
def test_files_that_crash_the_runtime(monkeypatch, tmp_path, body, match):
    (tmp_path / 'onnxruntime.py').write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'pose.onnx').touch()
    with pytest.raises(ValueError, match=match):
        quantize.check_runs(str(tmp_path / 'pose.onnx'), np.zeros(1))


def test_files_that_run(float_file, crops):
    quantize.check_runs(float_file('lgm'), crops[:2])
    with pytest.raises(ValueError, match='exit status 1'):
        quantize.check_runs(float_file('lgm'), crops[:2, :9])


def test_options_of_nncf(float_file, tmp_path, crops, monkeypatch):
    import nncf
    asked = []
    monkeypatch.setattr(
        nncf, 'quantize',
        lambda model, data, **options: asked.append(options) or model)
    for reduce_range in (False, True):
        quantize.quantize_openvino(
            float_file('lgm'),
            str(tmp_path / 'a.xml'),
            crops[:1],
            reduce_range=reduce_range)
    assert [one['advanced_parameters'].overflow_fix
            for one in asked] == [None, nncf.OverflowFix.ENABLE]
    assert {one['preset'] for one in asked} == {nncf.QuantizationPreset.MIXED}


def test_channel_shuffles_stay_in_float(float_file):
    graph = onnx.load(float_file('udp')).graph
    shuffles = {
        node.name
        for node in graph.node
        if node.op_type == 'Gather' and 'shuffle' in node.name
    }
    assert shuffles and shuffles <= set(quantize.float_node_names(graph))
