"""Exported files that were altered, cut off or exchanged."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lgm_pose_plugin.runtime import session
from lgm_pose_plugin.runtime.metadata import read_metadata
from lgm_pose_plugin.runtime.onnx_file import check_onnx

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
openvino = pytest.importorskip('openvino')
from lgm_pose_plugin.export import exporter  # noqa: E402
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime  # noqa: E402

pytestmark = pytest.mark.e2e
BACKENDS = ('onnxruntime', 'openvino')
WHOLE = object()  # stands for all of the metadata
DEEP = '[' * 100000
# What is changed in the metadata, and what the error says.
ALTERED = [
    (WHOLE, '', 'cannot be read'),
    (WHOLE, '{', 'cannot be read'),
    (WHOLE, '[]', 'cannot be read'),
    (WHOLE, 'null', 'cannot be read'),
    (WHOLE, DEEP, 'cannot be read'),
    (WHOLE, '1' * 10000, 'cannot be read'),
    (WHOLE, ' ' * 2000000, '2,000,000 characters'),
    ('format_version', 0, 'format_version is 0'),
    ('format_version', '1', "format_version is '1'"),
    ('format_version', True, 'format_version is True'),
    ('format_version', 10**400, 'format_version is 1000'),
    ('input_size', None, 'input_size must be a list of 2, each a whole'),
    ('input_size', [96], 'input_size must be'),
    ('input_size', ['96', '128'], 'input_size must be'),
    ('input_size', [96., 128.], 'input_size must be'),
    ('input_size', [0, 128], 'input_size must be'),
    ('input_size', [-96, -128], 'input_size must be'),
    ('input_size', [10**9, 10**9], 'input_size must be'),
    ('normalize', 1, 'normalize must be true or false'),
    ('decode', 'false', 'decode must be true or false'),
    ('bgr_to_rgb', None, 'bgr_to_rgb must be'),
    ('use_udp', [], 'use_udp must be'),
    ('shift_heatmap', {}, 'shift_heatmap must be'),
    ('mean', [1, 2], 'mean must be a list of 3, each a number'),
    ('mean', [float('nan')] * 3, 'mean must be'),
    ('std', [1, 0, 1], 'std must be a list of 3, each a number from 1e-06'),
    ('std', 'abc', 'std must be'),
    ('padding', 0, 'padding must be a number'),
    ('padding', float('inf'), 'padding must be'),
    ('padding', float('nan'), 'padding must be'),
    ('codec', None, 'codec must be a dictionary'),
    ('codec', dict(type=7), 'codec must be a dictionary'),
    ('codec', dict(type='SimCCLabel'), r'codec.input_size must be \[96, 128'),
    ('codec', dict(type='SimCCLabel', input_size=[96, 128]),
     'codec.simcc_split_ratio must be a number'),
    ('codec',
     dict(type='SimCCLabel', input_size=[64, 64],
          simcc_split_ratio=2.), 'codec.input_size must be'),
    ('codec',
     dict(
         type='MSRAHeatmap',
         input_size=[96, 128],
         blur_kernel_size=10,
         unbiased=True), 'codec.blur_kernel_size must be an odd'),
    ('codec', dict(type='MSRAHeatmap', input_size=[96, 128]), 'blur_kernel'),
    ('codec',
     dict(
         type='MSRAHeatmap', input_size=[96, 128],
         blur_kernel_size=10**9 + 1), 'up to 99'),
    ('codec',
     dict(type='MSRAHeatmap', input_size=[96, 128],
          blur_kernel_size=11), 'codec.unbiased'),
    ('codec',
     dict(type='UDPHeatmap', input_size=[96, 128],
          blur_kernel_size=11), 'codec.heatmap_type'),
    ('codec',
     dict(
         type='SoftmaxUDPHeatmap',
         input_size=[96, 128],
         blur_kernel_size=11,
         sigma=0), 'codec.sigma must be'),
    ('keypoint_names', [], 'keypoint_names must be a list of 1 to 1000'),
    ('keypoint_names', 'nose', 'keypoint_names must be'),
    ('keypoint_names', [None] * 17, 'keypoint_names must be'),
    ('keypoint_names', ['x'] * 100000, 'keypoint_names must be'),
    ('skeleton', [[0, 17]],
     'skeleton must be .* 2, each a whole number from 0 to 16'),
    ('skeleton', [[-1, 0]], 'skeleton must be'),
    ('skeleton', [[0, 1, 2]], 'skeleton must be'),
    ('flip_pairs', 3, 'flip_pairs must be'),
    ('flip_indices', [0] * 17, 'flip_indices must be the numbers 0 to 16'),
    ('flip_indices', list(range(16)), 'flip_indices must be'),
    ('flip_indices', [None] * 17, 'flip_indices must be'),
    ('sigmas', [0.1], 'sigmas must be a list of 17'),
    ('sigmas', [-0.1] * 17, 'sigmas must be'),
]


def ident(value):
    return str(value)[:20] if isinstance(value, (str, int, list)) else None


@pytest.fixture(scope='module')
def exported(network_files, small_network, tmp_path_factory):
    """A small network as an .onnx and as an .xml file."""
    config, options, checkpoint = small_network('udp')
    xml = str(tmp_path_factory.mktemp('openvino') / 'net.xml')
    exporter.export(config, checkpoint, xml, format='openvino', samples=2)
    return dict(onnx=network_files[2], xml=xml)


def metadata_of(file):
    props, = onnx.load(file).metadata_props
    return json.loads(props.value)


def altered_onnx(source, target, change):
    """Write an ONNX file that was changed."""
    model = onnx.load(source)
    change(model)
    # onnx.save would write the tensors where a hostile path leads.
    target.write_bytes(model.SerializeToString())
    return str(target)


def with_metadata(metadata):
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    return lambda model: onnx.helper.set_model_props(
        model, {session.METADATA_KEY: text})


def altered(metadata, key, value):
    if key is WHOLE:
        return value
    return dict(metadata, **{key: value})


def test_metadata_of_exports_are_read(exported):
    metadata = metadata_of(exported['onnx'])
    assert read_metadata(json.dumps(metadata), 'net.onnx') == metadata
    for file in exported.values():
        check = PoseRuntime(file).metadata
        assert check == dict(metadata, config=check['config'])


@pytest.mark.promise('altered-exports')
@pytest.mark.parametrize('key, value, match', ALTERED, ids=ident)
def test_altered_metadata(exported, key, value, match):
    metadata = altered(metadata_of(exported['onnx']), key, value)
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    with pytest.raises(ValueError, match='net.onnx.*' + match) as error:
        read_metadata(text, 'net.onnx')
    assert len(str(error.value)) < 400


@pytest.mark.promise('metadata')
def test_every_key_is_needed(exported):
    metadata = metadata_of(exported['onnx'])
    told = {'plugin_version', 'config', 'precision'}
    for key in set(metadata) - told:
        missing = {k: v for k, v in metadata.items() if k != key}
        with pytest.raises(ValueError, match=key):
            read_metadata(json.dumps(missing), 'net.onnx')


@pytest.mark.promise('altered-exports')
@pytest.mark.parametrize('backend', BACKENDS)
def test_metadata_that_disagree_with_the_network(exported, tmp_path, backend):
    """Each is right in itself; only running the network tells."""
    metadata = metadata_of(exported['onnx'])
    codec = dict(metadata['codec'], input_size=[64, 64])
    names = metadata['keypoint_names'][:14]
    fewer = dict(
        keypoint_names=names,
        skeleton=[[0, 1]],
        flip_pairs=[],
        flip_indices=list(range(14)),
        sigmas=metadata['sigmas'][:14])
    cases = [
        (dict(input_size=[64, 64], codec=codec), 'not take crops of 64x64'),
        (dict(normalize=False), 'not take crops of 96x128'),
        (dict(decode=False), 'must compute heatmaps .* 17 key points'),
        (fewer, r'keypoints of shape \(1, 14, 2\).*\(1, 17, 2\)'),
    ]
    for change, match in cases:
        file = altered_onnx(exported['onnx'], tmp_path / 'net.onnx',
                            with_metadata(dict(metadata, **change)))
        with pytest.raises(ValueError, match=match) as error:
            PoseRuntime(file, backend)
        assert file in str(error.value)


@pytest.mark.promise('altered-exports')
def test_altered_openvino_files(exported, tmp_path):
    model = session.openvino_core().read_model(exported['xml'])
    for value, match in (('{}', 'cannot be read'), ('x', 'cannot be read')):
        for path in ([session.METADATA_KEY],
                     ['framework', session.METADATA_KEY]):
            model.set_rt_info(value, path)
        openvino.save_model(
            model, str(tmp_path / 'net.xml'), compress_to_fp16=False)
        with pytest.raises(ValueError, match=match):
            PoseRuntime(tmp_path / 'net.xml')


@pytest.mark.promise('altered-exports')
@pytest.mark.parametrize('backend', BACKENDS)
def test_broken_weights(exported, tmp_path, backend):

    def poison(model):
        # The last one with a channel per key point: the head's bias.
        for tensor in model.graph.initializer:
            if list(tensor.dims) == [17]:
                value = np.full(17, np.nan, np.float32)
                tensor.CopyFrom(
                    onnx.numpy_helper.from_array(value, tensor.name))

    raw = altered_onnx(exported['onnx'], tmp_path / 'net.onnx', poison)
    with pytest.raises(ValueError, match='not finite; its weights are broken'):
        PoseRuntime(raw, backend)


@pytest.mark.promise('altered-exports')
@pytest.mark.parametrize('batch', [0, 4097, 10**9])
def test_batches_that_no_memory_holds(exported, tmp_path, batch):
    """The runtimes fill the memory while they open such a network."""

    def enlarge(model):
        dim = model.graph.input[0].type.tensor_type.shape.dim[0]
        dim.dim_value = batch

    file = altered_onnx(exported['onnx'], tmp_path / 'net.onnx', enlarge)
    match = f'takes {batch} crops at once'
    for backend in BACKENDS:
        with pytest.raises(ValueError, match=match):
            PoseRuntime(file, backend)
    xml = Path(exported['xml'])
    text = xml.read_text()
    assert text.count('shape="?,128,96,3"') == 1
    target = tmp_path / 'net.xml'
    target.write_text(
        text.replace('shape="?,128,96,3"', f'shape="{batch},128,96,3"'))
    shutil.copy(xml.with_suffix('.bin'), tmp_path)
    # OpenVINO may refuse a batch of 0 in words of its own.
    with pytest.raises(ValueError, match=match if batch else 'net.xml'):
        PoseRuntime(target)


def external(tensor, location):
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = 'location', location


def in_initializer(model, location):
    external(model.graph.initializer[0], location)


def in_attribute(model, location):
    attribute = model.graph.node[0].attribute.add()
    attribute.name, attribute.type = 'value', onnx.AttributeProto.TENSOR
    attribute.t.name = 'x'
    external(attribute.t, location)


def in_subgraph(model, location):
    attribute = model.graph.node[0].attribute.add()
    attribute.name, attribute.type = 'body', onnx.AttributeProto.GRAPH
    external(attribute.g.initializer.add(), location)


def in_sparse_tensor(model, location):
    external(model.graph.sparse_initializer.add().values, location)


def in_function(model, location):
    attribute = model.functions.add().node.add().attribute.add()
    external(attribute.tensors.add(), location)


def in_training_info(model, location):
    external(model.training_info.add().algorithm.initializer.add(), location)


@pytest.mark.promise('altered-exports')
@pytest.mark.parametrize('place', [
    in_initializer, in_attribute, in_subgraph, in_sparse_tensor, in_function,
    in_training_info
])
def test_tensors_in_other_files(exported, tmp_path, place):
    for location in ('weights.bin', '../../../etc/passwd', '/etc/passwd'):
        file = altered_onnx(exported['onnx'], tmp_path / 'net.onnx',
                            lambda model: place(model, location))
        for backend in BACKENDS:
            with pytest.raises(ValueError, match='tensors in other files'):
                PoseRuntime(file, backend)


def test_numbers_of_fields_that_only_runtimes_understand(exported, tmp_path):
    """Protobuf drops the bits above 32, which make another number."""
    model = onnx.load(exported['onnx'])
    in_initializer(model, 'weights.bin')
    graph = model.graph.SerializeToString()
    model.ClearField('graph')
    length = b''
    size = len(graph)
    while size:
        length += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
    file = tmp_path / 'net.onnx'
    # Field 7, the graph; and 2**29 + 7.
    for tag, match in ((b'\x3a', 'tensors in other files'),
                       (b'\xba\x80\x80\x80\x10', 'a number that is too')):
        file.write_bytes(model.SerializeToString() + tag + length + graph)
        for backend in BACKENDS:
            with pytest.raises(ValueError, match=match):
                PoseRuntime(file, backend)


@pytest.mark.promise('altered-exports')
def test_files_cut_off(exported, tmp_path):
    data = Path(exported['onnx']).read_bytes()
    file = tmp_path / 'net.onnx'
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:length])
        for backend in BACKENDS:
            with pytest.raises(ValueError, match='net.onnx'):
                PoseRuntime(file, backend)
    xml = Path(exported['xml'])
    weights = xml.with_suffix('.bin').read_bytes()
    for cut_xml, cut_bin in ((0, None), (1000, None), (None, 0), (None, -4),
                             (None, len(weights) // 2)):
        (tmp_path / 'net.xml').write_bytes(xml.read_bytes()[:cut_xml])
        (tmp_path / 'net.bin').write_bytes(weights[:cut_bin])
        with pytest.raises(ValueError, match='net.xml'):
            PoseRuntime(tmp_path / 'net.xml')


@pytest.mark.promise('altered-exports')
def test_exchanged_weights(exported, tmp_path):
    """Of the same size: without the hash nothing would tell."""
    for suffix in ('.xml', '.bin'):
        shutil.copy(Path(exported['xml']).with_suffix(suffix), tmp_path)
    assert PoseRuntime(tmp_path / 'net.xml')
    weights = np.fromfile(tmp_path / 'net.bin', np.uint8)
    weights[len(weights) // 2] ^= 1
    weights.tofile(tmp_path / 'net.bin')
    with pytest.raises(ValueError, match='net.bin is not the file that it'):
        PoseRuntime(tmp_path / 'net.xml')
    # A file of an earlier version has no hash.
    text = (tmp_path / 'net.xml').read_text()
    assert session.BIN_KEY in text
    (tmp_path / 'net.xml').write_text(
        text.replace(session.BIN_KEY, 'another_key'))
    assert PoseRuntime(tmp_path / 'net.xml')


def test_random_bytes_are_no_onnx_files(tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / 'net.onnx'
    for _ in range(200):
        file.write_bytes(rng.bytes(rng.integers(1, 200)))
        with pytest.raises(ValueError, match='net.onnx'):
            PoseRuntime(file)


@pytest.mark.promise('altered-exports')
def test_altered_bytes_of_onnx_files(exported, tmp_path):
    """What is wrong is refused; what is not gives finite key points."""
    data = np.fromfile(exported['onnx'], np.uint8)
    rng = np.random.default_rng(0)
    file = tmp_path / 'net.onnx'
    refused = 0
    image = np.zeros((64, 64, 3), np.uint8)
    for _ in range(20):
        broken = data.copy()
        # Weights are most of the file; the graph is at the beginning.
        places = rng.integers(0, 20000, 5)
        broken[places] ^= rng.integers(1, 256, 5, dtype=np.uint8)
        broken.tofile(file)
        try:
            keypoints, scores = PoseRuntime(file)(image)
            assert np.isfinite(keypoints).all() and np.isfinite(scores).all()
        except ValueError as error:
            assert 'net.onnx' in str(error)
            refused += 1
    assert refused > 5


def test_own_files_are_self_contained(exported):
    check_onnx(exported['onnx'], 1)
