"""The exported files and `lgm-pose export`; test_runtime.py runs them."""
import json
import os
import re
import sys

import cv2
import numpy as np
import pytest
import torch
from mmpose.codecs import MSRAHeatmap, SimCCLabel

from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.datasets.rendered.writer import write_dataset
from lgm_pose_plugin.export import checks, graph, onnx_file
from lgm_pose_plugin.models import builder as networks

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('openvino')
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from lgm_pose_plugin.export import agreement as accuracy  # noqa: E402
from lgm_pose_plugin.export import exporter  # noqa: E402
from lgm_pose_plugin.runtime import PoseRuntime, open_session  # noqa: E402

pytestmark = pytest.mark.e2e


@pytest.fixture
def export(small_network, tmp_path):
    """Export a small network to ``tmp_path``."""

    def export(name, file='pose.onnx', options={}, **kwargs):
        config, cfg_options, checkpoint = small_network(name)
        return exporter.export(
            config,
            checkpoint,
            str(tmp_path / file),
            cfg_options={
                **cfg_options,
                **options
            },
            **{
                'samples': 2,
                **kwargs
            })

    return export


def signature(values):
    shapes = [[
        dim.dim_param or dim.dim_value
        for dim in value.type.tensor_type.shape.dim
    ] for value in values]
    return {
        value.name: (value.type.tensor_type.elem_type, *shape)
        for value, shape in zip(values, shapes)
    }


UINT8, FLOAT = TensorProto.UINT8, TensorProto.FLOAT


@pytest.mark.promise('exported-files')
@pytest.mark.parametrize('name, kwargs, inputs, outputs', [
    ('lgm', {}, (UINT8, 'batch', 128, 96, 3),
     dict(keypoints=(FLOAT, 'batch', 17, 2), scores=(FLOAT, 'batch', 17))),
    ('lgm', dict(decode=False, batch=3),
     (UINT8, 3, 128, 96, 3), dict(heatmaps=(FLOAT, 3, 17, 32, 24))),
    ('rtmpose', dict(decode=False, normalize=False),
     (FLOAT, 'batch', 3, 128, 96),
     dict(
         simcc_x=(FLOAT, 'batch', 17, 192),
         simcc_y=(FLOAT, 'batch', 17, 256))),
])
def test_contract(export, tmp_path, name, kwargs, inputs, outputs):
    report = export(name, **kwargs)
    graph = onnx.load(tmp_path / 'pose.onnx').graph
    assert signature(graph.input) == dict(images=inputs)
    assert signature(graph.output) == outputs
    assert {node.domain for node in graph.node} == {''}
    assert report['check']['maps_max_difference'] < 1e-4
    assert sorted(
        os.listdir(tmp_path)) == ['pose.onnx', 'pose.onnx.report.json']
    saved = json.loads((tmp_path / 'pose.onnx.report.json').read_text())
    assert saved == report
    assert report['bytes'] == (tmp_path / 'pose.onnx').stat().st_size


@pytest.mark.promise('exported-files')
@pytest.mark.parametrize('name',
                         ['lpn50', 'cpn50', 'tokenpose-b', 'hrformer-t'])
def test_networks_of_other_papers(export, tmp_path, name):
    report = export(name, batch=2)
    session = open_session(str(tmp_path / 'pose.onnx'))
    assert session.outputs == dict(keypoints=(2, 17, 2), scores=(2, 17))
    assert report['check']['compared_keypoints'] > 0


@pytest.mark.promise('metadata')
def test_metadata(export, tmp_path):
    report = export('udp', 'pose.xml', format='openvino')
    assert sorted(os.listdir(tmp_path)) == [
        'pose.bin', 'pose.xml', 'pose.xml.report.json'
    ]
    metadata = json.loads(open_session(str(tmp_path / 'pose.xml')).metadata)
    assert metadata == report['metadata']
    assert metadata['input_size'] == [96, 128]
    assert metadata['keypoint_names'][:2] == ['nose', 'left_eye']
    assert metadata['flip_indices'][:3] == [0, 2, 1]
    assert metadata['flip_pairs'][0] == [1, 2]
    assert len(metadata['flip_pairs']) == 8
    assert [15, 13] in metadata['skeleton']
    assert metadata['sigmas'][0] == pytest.approx(.026)
    assert metadata['mean'] == [123.675, 116.28, 103.53]
    assert metadata['bgr_to_rgb'] and metadata['use_udp']
    assert metadata['decode'] and metadata['normalize']
    assert metadata['padding'] == 1.25
    assert metadata['config'] == 'td-hm_lgm-pose_1xb4-2e_rendered-128x96'
    codec = metadata['codec']
    assert codec['type'] == 'UDPHeatmap' and codec['blur_kernel_size'] == 7
    assert codec['heatmap_size'] == [24, 32]


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('groups', [1, 2])
@torch.no_grad()
def test_fold_batch_norms(randomize, groups, bias):
    conv = torch.nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=bias)
    network = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(6))
    randomize(network).eval()
    x = torch.randn(1, 4, 5, 5)
    expected = network(x)
    onnx_file.fold_batch_norms(network)
    torch.testing.assert_close(network(x), expected, atol=1e-5, rtol=1e-5)
    # torch folds no groups.
    assert isinstance(network[1], torch.nn.Identity) is (groups == 1)


@pytest.mark.parametrize('alpha, operators', [
    (None, ['Min', 'Exp', 'Sub', 'Max']),
    (1., ['Min', 'Exp', 'Sub', 'Max']),
    (.5, ['Elu']),
])
def test_split_elus(tmp_path, alpha, operators):
    shape = [
        helper.make_tensor_value_info(name, FLOAT, (5, )) for name in 'xy'
    ]
    attributes = {} if alpha is None else dict(alpha=alpha)
    graph = helper.make_graph(
        [helper.make_node('Elu', ['x'], ['y'], name='elu', **attributes)], 'g',
        shape[:1], shape[1:])
    file = str(tmp_path / 'elu.onnx')
    onnx.save(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8),
        file)
    onnx_file.split_elus(file, file)
    onnx.checker.check_model(file, full_check=True)
    assert [node.op_type for node in onnx.load(file).graph.node] == operators
    # Where the exponential of a positive number would be infinite.
    x = np.array([-1e4, -1, 0, 1, 1e4], np.float32)
    expected = torch.nn.functional.elu(torch.from_numpy(x), alpha or 1.)
    np.testing.assert_allclose(
        open_session(file).run(x)['y'], expected, atol=1e-6)


@pytest.mark.parametrize('file, elus', [('pose.onnx', False),
                                        ('pose.xml', True)])
def test_elu_is_split_for_onnx_runtime(export, monkeypatch, file, elus):
    """Not for OpenVINO, which joins an ELU with the operator before it."""
    seen = []
    finish = exporter.Exporter._finish

    def look(self, full):
        graph = onnx.load(self._path('full', '.onnx')).graph
        seen.append({node.op_type for node in graph.node})
        finish(self, full)

    monkeypatch.setattr(exporter.Exporter, '_finish', look)
    format = 'onnx' if file.endswith('onnx') else 'openvino'
    export('lapx', file, format=format)
    assert ('Elu' in seen[0]) is elus and ('Exp' in seen[0]) is not elus


def test_equal_weights_are_united():
    """The exporter repeats a weight by Identity; another stays."""
    make = helper.make_node
    graph = helper.make_graph([
        make('Identity', ['weight'], ['repeated']),
        make('Add', ['images', 'repeated'], ['y']),
        make('Identity', ['y'], ['out'])
    ], 'g', [], [], [numpy_helper.from_array(np.zeros(1), 'weight')])
    onnx_file.unite_weights(graph)
    assert [(node.op_type, *node.input)
            for node in graph.node] == [('Add', 'images', 'weight'),
                                        ('Identity', 'y')]


@pytest.mark.promise('exported-files', 'one-line-errors')
def test_wrong_file_is_not_written(monkeypatch, small_network, tmp_path,
                                   capsys):
    """A weight is changed a little after the export."""

    def wrong(network, example, file, *options):
        names = onnx_file.to_onnx(network, example, file, *options)
        model = onnx.load(file)
        weight = max(
            model.graph.initializer, key=lambda one: len(one.raw_data))
        array = numpy_helper.to_array(weight).copy()
        array.flat[:50] += .1
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))
        onnx.save(model, file)
        return names

    formats = exporter.FORMATS
    monkeypatch.setitem(formats, 'onnx', formats['onnx']._replace(write=wrong))
    config, options, checkpoint = small_network('lgm')
    file = tmp_path / 'pose.onnx'
    command = [
        'export', config, checkpoint, '-o',
        str(file), '--samples', '2', '--cfg-options'
    ] + [f'{key}={value}' for key, value in options.items()]
    assert main(command) == 1
    assert "maps differ by" in capsys.readouterr().err
    assert not os.listdir(tmp_path)
    monkeypatch.undo()
    assert main(command) == 0
    assert 'checked against MMPose on 2 crops' in capsys.readouterr().out
    assert file.exists()


def test_check_of_key_points():
    codec = MSRAHeatmap((192, 256), (48, 64), 2)
    maps = np.zeros((1, 4, 64, 48), np.float32)
    maps[0, 0, 20, 10], maps[0, 0, 20, 11], maps[0, 0, 19, 10] = 1, .5, .5
    maps[0, 1, 20, 10] = maps[0, 1, 40, 10] = 1  # tied
    maps[0, 2] = -1  # nothing found
    maps[0, 3, 30, 20], maps[0, 3, 30, 21] = 1, 1e-7  # hardly to the right
    keypoints = np.stack([codec.decode(one)[0][0] for one in maps])
    found = maps.copy()
    found[0, 1, 40, 10] += 1e-6
    keypoints[0, 1:] += 100

    def check(shift):
        return checks.check_keypoints(codec, [maps], [found],
                                      keypoints + np.float32(shift))

    assert check(.04) == dict(
        compared_keypoints=1,
        other_keypoints=3,
        keypoints_max_difference_px=pytest.approx(.04, abs=1e-4),
        keypoints_tolerance_px=.05)
    with pytest.raises(graph.ExportError, match='differ by 0.06'):
        check(.06)
    with pytest.raises(graph.ExportError, match='differ by nan'):
        check(np.nan)
    maps[0, 0] = -1
    with pytest.raises(graph.ExportError, match='no key point'):
        check(0)


@pytest.mark.parametrize('scale, fails', [(1, True), (4, False)])
def test_check_of_maps(scale, fails):
    """The tolerance grows with values above 1."""
    maps = np.full((1, 1, 2, 2), scale, np.float32)
    assert checks.check_maps([maps], [maps + 5e-5]) == dict(
        maps_max_difference=pytest.approx(5e-5, rel=.1),
        maps_tolerance=pytest.approx(1e-4 * scale))
    if fails:
        with pytest.raises(graph.ExportError):
            checks.check_maps([maps], [maps + 3e-4])
    else:
        checks.check_maps([maps], [maps + 3e-4])
    with pytest.raises(graph.ExportError):
        checks.check_maps([maps], [maps * np.nan])


@pytest.mark.parametrize(
    'kwargs, match',
    [
        (dict(file='pose.xml'), 'must end in .onnx, got'),
        (dict(file='pose.onnx', format='openvino'), 'must end in .xml, got'),
        (dict(format='torchscript'), "unknown format 'torchscript'"),
        (dict(file='nowhere/pose.onnx'), 'there is no folder'),
        (dict(batch=0), 'batch must be from 1 to 4096'),
        # Which PoseRuntime would not open.
        (dict(batch=4097), 'batch must be .* got 4097'),
        (dict(samples=0), 'samples, .* at least 1, got 0'),
        (dict(int8=True, calibration=0), 'calibration .* at least 1, got 0'),
        (dict(int8=True), 'give their pictures .*--images.* --dataset'),
        (dict(int8=True, images=['a.jpg'],
              eval_samples=5), 'eval_samples needs int8 and dataset'),
        (dict(dataset=True, eval_samples=5), 'eval_samples needs int8'),
        (dict(reduce_range=True), 'reduce_range needs int8'),
        (dict(images=['nowhere.jpg']), 'no picture or folder nowhere.jpg'),
        (dict(dataset=True), 'cannot be read'),
        (dict(options={'model.test_cfg.output_keypoint_indices': [0]}),
         'output_keypoint_indices'),
        (dict(options={'test_dataloader.dataset.pipeline': []}),
         'TopdownAffine'),
        (dict(options={'model.head.decoder': None}), 'not a codec'),
        (dict(options={'test_dataloader.dataset.type': 'LspDataset'}),
         'returns 17 maps or vectors, .* has 14 key points'),
    ])
def test_wrong_arguments(export, tmp_path, kwargs, match):
    with pytest.raises((FileNotFoundError, ValueError), match=match):
        export('lgm', **kwargs)
    assert not os.listdir(tmp_path)


@pytest.fixture
def pictures(tmp_path):
    """A folder of three pictures of people."""
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for i in range(3):
        image, _ = render_image(np.random.default_rng(i), (96, 128))
        cv2.imwrite(str(folder / f'{i}.png'), image)
    return folder


def test_one_picture_makes_batches_of_two_sizes(export, pictures):
    report = export('lgm', images=[str(pictures / '0.png')])
    assert report['check']['number_of_crops'] == 2
    assert report['check']['crops'] == 'images'


def test_codecs_that_change_vectors_or_have_visibilities():

    class Codec:

        def decode(self, simcc_x, simcc_y):
            simcc_x[:] = 0
            return simcc_y, (simcc_x, simcc_x + 1)

    maps = np.ones((2, 3, 4)), np.ones((2, 3, 5))
    keypoints, scores = graph.decode_maps(Codec(), maps)
    assert keypoints.shape == (2, 3, 5) and not scores.any()
    assert maps[0].all()


def test_codecs_without_decoder_need_no_decode(export, small_network,
                                               tmp_path):
    options = {'model.head.decoder.use_dark': True}
    with pytest.raises(ValueError, match='SimCCLabel without'):
        export('rtmpose', options=options)
    report = export('rtmpose', options=options, decode=False)
    assert report['metadata']['codec']['use_dark']
    assert SimCCLabel.__name__ == report['metadata']['codec']['type']


def test_missing_checkpoint(capsys, small_network, tmp_path):
    config, _, _ = small_network('lgm')
    assert main(
        ['export', config, 'nowhere.pth', '-o',
         str(tmp_path / 'x.onnx')]) == 1
    assert 'nowhere.pth: there is no such file' in capsys.readouterr().err


def test_network_that_torch_cannot_export(export, monkeypatch):
    """ONNX has no eigenvalues."""

    def forward(self, images):
        return torch.linalg.eigvals(images[:, :2, :2, 0].float()),

    monkeypatch.setattr(graph.ExportedNetwork, 'forward', forward)
    with pytest.raises(ValueError, match='fixed --batch.*linalg_eig'):
        export('lgm')


@pytest.fixture
def any_agreement(monkeypatch):
    """Take int8 as it comes: random weights make noise, not people."""
    monkeypatch.setattr(accuracy, 'LEAST', -9)


def int8_command(small_network, tmp_path, *options):
    config, cfg_options, checkpoint = small_network('udp')
    return [
        'export', config, checkpoint, '--int8', '--samples', '2', '-o',
        str(tmp_path / 'pose.onnx'), *options
    ]


@pytest.mark.e2e
def test_int8_of_a_data_set(small_network, tmp_path, capsys, any_agreement):
    """Other people are calibrated on than measured."""
    pytest.importorskip('nncf')
    for split, images in (('train2017', 3), ('val2017', 4)):
        write_dataset(str(tmp_path), images, 0, split, (160, 120), 2)
    command = int8_command(
        small_network, tmp_path, '--format', 'openvino', '-o',
        str(tmp_path / 'pose.xml'), '--dataset', '--calibration-samples', '2',
        '--eval-samples', '1', '--cfg-options',
        f'train_dataloader.dataset.data_root={tmp_path}',
        f'test_dataloader.dataset.data_root={tmp_path}',
        f'test_evaluator.ann_file={tmp_path}/annotations/'
        'person_keypoints_val2017.json')
    capsys.readouterr()
    assert main(command) == 0
    out = capsys.readouterr().out
    assert 'int8 calibrated on 2 crops (dataset)' in out
    assert re.search(r'coco/AP: 0\.\d+ in float32, 0\.\d+ in int8', out)
    report = json.loads((tmp_path / 'pose.xml.report.json').read_text())
    int8 = report['int8']
    assert report['bytes'] == sum(
        (tmp_path / name).stat().st_size for name in ('pose.xml', 'pose.bin'))
    assert report['bytes'] < .5 * int8['bytes_float32']
    assert report['metadata']['precision'] == 'int8'
    assert int8['calibration'] == dict(crops='dataset', number_of_crops=2)
    assert not int8['reduce_range']
    assert '/model/final_layer/Conv' in int8['float_nodes']
    assert 1 <= int8['agreement']['number_of_crops'] <= 2
    assert 'coco/AP .5' in int8['accuracy']['float32']
    assert int8['accuracy']['int8'].keys() == int8['accuracy']['float32'].keys(
    )
    assert report['environment']['nncf'] and report['environment']['openvino']
    # The maps that were compared are no outputs of the file.
    runtime = PoseRuntime(str(tmp_path / 'pose.xml'))
    assert runtime.metadata == report['metadata']
    image = cv2.imread(str(tmp_path / 'val2017' / '000000000001.jpg'))
    keypoints, scores = runtime(image, [[10, 10, 80, 100], [50, 5, 150, 110]])
    assert keypoints.shape == (2, 17, 2) and scores.shape == (2, 17)
    assert runtime.session.run(np.zeros(
        (1, 128, 96, 3), np.uint8)).keys() >= {'keypoints', 'scores'}
    assert 'heatmaps' not in runtime.session.run(
        np.zeros((1, 128, 96, 3), np.uint8))


def test_int8_of_pictures(export, tmp_path, pictures, any_agreement):
    report = export(
        'udp',
        int8=True,
        images=[str(pictures)],
        batch=2,
        decode=False,
        reduce_range=True)
    assert report['int8']['calibration'] == dict(
        crops='images', number_of_crops=3)
    assert report['int8']['agreement']['number_of_crops'] == 3
    assert report['int8']['reduce_range']
    assert 'accuracy' not in report['int8']
    session = open_session(str(tmp_path / 'pose.onnx'))
    assert session.batch == 2
    assert json.loads(session.metadata)['precision'] == 'int8'
    image = cv2.imread(str(pictures / '0.png'))
    keypoints, _ = PoseRuntime(str(tmp_path / 'pose.onnx')).predict_crops(
        np.stack([image] * 3), flip_test=True)
    assert keypoints.shape == (3, 17, 2)


@pytest.mark.promise('int8')
def test_useless_int8_is_not_written(monkeypatch, small_network, tmp_path,
                                     pictures, capsys):
    """A network is written in place of the quantised one."""

    def wrong(source, target, inputs, reduce_range):
        assert inputs.shape == (3, 128, 96, 3)
        model = onnx.load(source)
        for one in model.graph.initializer:
            array = numpy_helper.to_array(one)
            if array.ndim == 4:
                one.CopyFrom(numpy_helper.from_array(-array, one.name))
        onnx.save(model, target)
        return []

    formats = exporter.FORMATS
    monkeypatch.setitem(formats, 'onnx',
                        formats['onnx']._replace(quantize=wrong))
    (tmp_path / 'pose.onnx').write_text('of an earlier export')
    command = int8_command(small_network, tmp_path, '--images', str(pictures))
    assert main(command) == 1
    assert 'int8 destroys this network' in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ['pictures', 'pose.onnx']
    assert (tmp_path / 'pose.onnx').read_text() == 'of an earlier export'


def test_int8_without_training_data(export, tmp_path):
    write_dataset(str(tmp_path), 1, 0, 'val2017', (160, 120), 1)
    with pytest.raises(ValueError, match='train data set .* cannot be read'):
        export(
            'udp',
            int8=True,
            dataset=True,
            options={'test_dataloader.dataset.data_root': str(tmp_path)})
    assert not (tmp_path / 'pose.onnx').exists()


def test_missing_nncf(export, monkeypatch):
    monkeypatch.setitem(sys.modules, 'nncf', None)
    with pytest.raises(ImportError, match='pip install nncf'):
        export('lgm', 'pose.xml', format='openvino', int8=True, dataset=True)


@pytest.mark.parametrize('activation', ['HSwish', 'ReLU'])
def test_other_activations(load_config, activation):
    """Configs of int8-friendly activations by --cfg-options alone."""
    cfg = load_config(
        'td-hm_lgm-pose_1xb4-2e_rendered-128x96',
        model__backbone__act_cfg__type=activation,
        model__neck__act_cfg__type=activation)
    names = {type(m).__name__ for m in networks.build_model(cfg).modules()}
    assert not names & {'SiLU', 'Swish'}
    assert names & {'Hardswish', 'HSwish', 'ReLU'}
