"""Running exported files without torch and MMPose."""
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmpose.apis import inference_topdown, init_model
from mmpose.codecs import MSRAHeatmap, SimCCLabel, UDPHeatmap

from lgm_pose_plugin.codecs import SoftmaxUDPHeatmap
from lgm_pose_plugin.datasets.rendered.scene import render_image
from lgm_pose_plugin.models import builder as networks
from lgm_pose_plugin.runtime import decoding, pose_runtime, session

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('openvino')
from lgm_pose_plugin.export import exporter  # noqa: E402
from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime  # noqa: E402

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ('onnxruntime', 'openvino')
CASES = ('lgm', 'udp', 'softmax', 'lapx', 'rtmpose')
# Beyond the picture, narrow and flat; the last is the whole of it.
BOXES = [[-20, 30, 70, 250.5], [100, 20, 210, 90], [150.3, 60.7, 190, 239]]


@pytest.fixture(scope='module')
def exported(tmp_path_factory, small_network):
    """Path of an exported file; each is made once."""
    files = {}

    def export(name, suffix='.onnx', **options):
        key = name, suffix, tuple(options.items())
        if key not in files:
            config, cfg_options, checkpoint = small_network(name)
            files[key] = str(
                tmp_path_factory.mktemp('exported') / f'{name}{suffix}')
            exporter.export(
                config,
                checkpoint,
                files[key],
                format='onnx' if suffix == '.onnx' else 'openvino',
                samples=2,
                cfg_options=cfg_options,
                **options)
        return files[key]

    return export


@pytest.fixture(scope='module')
def picture():
    return render_image(np.random.default_rng(0), (320, 240))[0]


@pytest.fixture
def mmpose_model(small_network):

    def build(name):
        config, options, checkpoint = small_network(name)
        cfg = networks.load_config(config)
        cfg.merge_from_dict(options)
        return init_model(cfg, checkpoint, device='cpu')

    return build


def predict(model, image, boxes, flip_test):
    model.test_cfg['flip_test'] = flip_test
    results = [
        one.pred_instances for one in inference_topdown(model, image, boxes)
    ]
    return (np.concatenate([one.keypoints for one in results]),
            np.concatenate([one.keypoint_scores for one in results]))


def assert_same(found, expected):
    """Up to one key point per person may have a tie for its maximum."""
    for one, other in zip(found, expected):
        assert one.shape == other.shape and one.dtype == np.float32
    # MMPose's UDP refines -1 where nothing is above zero.
    compared = expected[1] > 0
    assert compared.sum(1).min() > 5
    differs = np.abs(found[0] - expected[0]).max(2) > 0.05
    assert (differs & compared).sum(1).max() <= 2
    np.testing.assert_allclose(found[1], expected[1], atol=1e-4)


@pytest.mark.promise('exported-files')
@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('name', CASES)
def test_equals_inference_topdown(exported, mmpose_model, picture, name,
                                  backend):
    model = mmpose_model(name)
    decoded = PoseRuntime(exported(name), backend)
    # Heat maps, in a fixed batch that one and three people do not fill.
    raw = PoseRuntime(exported(name, batch=2, decode=False), backend)
    for boxes in (BOXES[:1], BOXES, np.float32(BOXES), None):
        expected = predict(model, picture, boxes, False)
        assert_same(decoded(picture, boxes), expected)
        assert_same(raw(picture, boxes), expected)
        flipped = predict(model, picture, boxes, True)
        assert np.abs(flipped[0] - expected[0]).max() > 1
        assert_same(raw(picture, boxes, flip_test=True), flipped)


@pytest.mark.parametrize('name', ['lgm', 'rtmpose'])
def test_openvino_files(exported, mmpose_model, picture, name):
    network = PoseRuntime(exported(name, '.xml', normalize=False))
    assert not network.metadata['normalize']
    expected = predict(mmpose_model(name), picture, BOXES, False)
    assert_same(network(picture, BOXES), expected)


@pytest.mark.parametrize('use_udp', [False, True])
def test_crops_are_those_of_mmpose(exported, picture, use_udp):
    network = PoseRuntime(exported('lgm'))
    network.metadata['use_udp'] = use_udp
    pipeline = Compose([
        dict(type='GetBBoxCenterScale'),
        dict(type='TopdownAffine', input_size=(96, 128), use_udp=use_udp)
    ])
    for dtype in (np.float64, np.float32):
        boxes = np.array(BOXES, dtype)
        for box, crop in zip(boxes, network.crop(picture, boxes)[0]):
            expected = pipeline(
                dict(img=picture, bbox=box[None], bbox_score=np.ones(1)))
            np.testing.assert_array_equal(crop, expected['img'])


def gaussians(size, sigma=2):
    """Maps with a peak anywhere, also at the border, of shape (3, 17, H, W)"""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size[1], :size[0]]
    centers = rng.random((51, 2)) * (np.array(size) - 1)
    centers[::9] = np.round(centers[::9] / size) * (np.array(size) - 1)
    maps = [
        np.exp(-((x - a)**2 + (y - b)**2) / (2 * sigma**2)) for a, b in centers
    ]
    return np.float32(maps).reshape(3, 17, *size[::-1])


@pytest.mark.parametrize('codec', [
    MSRAHeatmap((192, 256), (48, 64), 2),
    MSRAHeatmap((192, 256), (48, 64), 2, unbiased=True),
    UDPHeatmap((192, 256), (48, 64), sigma=2),
])
def test_decodes_heat_maps_as_codecs(codec):
    arguments = dict(
        vars(codec),
        type=type(codec).__name__,
        heatmap_type=getattr(codec, 'heatmap_type', None))
    maps = gaussians((48, 64))
    keypoints, scores = decoding.decode(dict(heatmaps=maps), arguments)
    expected = [codec.decode(one) for one in maps]
    np.testing.assert_allclose(
        keypoints, np.concatenate([e[0] for e in expected]), atol=1e-3)
    np.testing.assert_array_equal(scores,
                                  np.concatenate([e[1] for e in expected]))
    nothing, scores = decoding.decode(
        dict(heatmaps=np.zeros_like(maps)), arguments)
    assert (nothing < 0).all() and not scores.any()


def test_decodes_logits_as_codec():
    codec = SoftmaxUDPHeatmap((192, 256), (48, 64))
    maps = np.log(gaussians((48, 64)).clip(1e-9)) + 100
    # Noise alone, whose blurred maximum is elsewhere.
    maps[2] = np.random.default_rng(0).normal(0, 3, maps[2].shape)
    keypoints, scores = decoding.decode(
        dict(heatmaps=maps), dict(vars(codec), type='SoftmaxUDPHeatmap'))
    expected = [codec.decode(one) for one in maps]
    np.testing.assert_allclose(
        keypoints, np.concatenate([e[0] for e in expected]), atol=1e-3)
    np.testing.assert_allclose(
        scores, np.concatenate([e[1] for e in expected]), rtol=1e-5)


def test_no_point_is_thrown_out(ridges):
    codec = dict(
        type='SoftmaxUDPHeatmap',
        input_size=(192, 256),
        sigma=2.,
        blur_kernel_size=11)
    keypoints, _ = decoding.decode(dict(heatmaps=ridges[None]), codec)
    pixels = keypoints / (192 / 47, 256 / 63)
    assert np.abs(pixels - (24, 32)).max() < 4


def test_decodes_simcc_as_codec():
    codec = SimCCLabel((192, 256), simcc_split_ratio=2.0)
    x, y = (torch.randn(3, 17, size).numpy() for size in (384, 512))
    x[0] -= 10
    keypoints, scores = decoding.decode(
        dict(simcc_x=x, simcc_y=y),
        dict(vars(codec), type=type(codec).__name__))
    expected = codec.decode(x, y)
    np.testing.assert_array_equal(keypoints, expected[0])
    np.testing.assert_array_equal(scores, expected[1])


@pytest.mark.parametrize('codec', [
    dict(type='SimCCLabel', use_dark=True),
    dict(type='UDPHeatmap', heatmap_type='combined'),
    dict(type='MegviiHeatmap'),
])
def test_other_codecs(codec):
    with pytest.raises(ValueError, match=f'{codec["type"]}.*use MMPose'):
        decoding.decode({}, codec)


def test_nobody(exported, picture):
    for boxes in ([], np.empty((0, 4))):
        keypoints, scores = PoseRuntime(exported('lgm'))(picture, boxes)
        assert keypoints.shape == (0, 17, 2) and scores.shape == (0, 17)


def test_many_people_are_several_calls(exported, picture, monkeypatch):
    network = PoseRuntime(exported('lgm'))
    expected = network(picture, BOXES)
    sizes = []
    run = network._run
    monkeypatch.setattr(pose_runtime, 'PEOPLE_AT_ONCE', 2)
    monkeypatch.setattr(network, '_run',
                        lambda crops: sizes.append(len(crops)) or run(crops))
    for one, other in zip(network(picture, BOXES), expected):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert sizes == [2, 1]


@pytest.mark.promise('predict-batches')
@pytest.mark.parametrize('backend', BACKENDS)
def test_several_images_are_one_call(exported, picture, monkeypatch, backend):
    network = PoseRuntime(exported('lgm'), backend)
    images = [picture, picture[:, ::-1].copy(), picture[:99], picture]
    boxes = [BOXES, np.float32(BOXES[:1]), [], None]
    expected = [*map(network, images, boxes)]
    sizes = []
    run = network._run
    monkeypatch.setattr(network, '_run',
                        lambda crops: sizes.append(len(crops)) or run(crops))
    found = network.predict_batch(images, boxes)
    assert sizes == [5]
    assert [len(keypoints) for keypoints, _ in found] == [3, 1, 0, 1]
    for (points, scores), (wanted, values) in zip(found, expected):
        np.testing.assert_allclose(points, wanted, atol=.05)
        np.testing.assert_allclose(scores, values, atol=1e-4)
    assert network.predict_batch([], []) == []


@pytest.mark.parametrize('backend', BACKENDS)
def test_threads_get_their_own_results(exported, picture, backend):
    network = PoseRuntime(exported('lgm'), backend)
    crops = np.random.default_rng(0).integers(
        0, 256, (4, 128, 96, 3), dtype=np.uint8)
    expected = [network.predict_crops(crop[None]) for crop in crops]
    assert not np.array_equal(expected[0][0], expected[1][0])

    def differs(i):
        found = [network.predict_crops(crops[i:i + 1]) for _ in range(50)]
        return sum(not np.array_equal(one, other) for results in found
                   for one, other in zip(results, expected[i]))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(differs, range(4))) == 0


@pytest.mark.parametrize('backend', BACKENDS)
def test_worker_processes(exported, picture, backend, monkeypatch):
    """They are started anew, as on Windows and macOS."""
    file = Path(exported('lgm'))
    monkeypatch.chdir(file.parent)
    runtime = PoseRuntime(file.name, backend)
    monkeypatch.chdir(ROOT)
    expected = runtime(picture, BOXES)
    with ProcessPoolExecutor(1,
                             multiprocessing.get_context('spawn')) as executor:
        found = executor.submit(runtime, picture, BOXES).result(timeout=300)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)


def test_results_are_those_of_all_crops(exported, picture):
    network = PoseRuntime(exported('lgm'))
    run = network.session.run
    network.session = network.session._replace(
        run=lambda inputs: run(inputs[:1]))
    with pytest.raises(ValueError, match='keypoints of shape .1, .* 3 crops'):
        network(picture, BOXES)


@pytest.mark.promise('fuzz')
@pytest.mark.parametrize('image', [
    np.zeros((8, 8, 3)),
    np.zeros((8, 8), np.uint8),
    np.zeros((8, 8, 4), np.uint8),
    np.zeros((0, 8, 3), np.uint8), None, 'people.jpg'
])
def test_wrong_images(exported, image):
    with pytest.raises(ValueError, match=r'uint8 of shape \(H, W, 3\), got'):
        PoseRuntime(exported('lgm'))(image)


@pytest.mark.promise('fuzz')
@pytest.mark.parametrize('boxes, match', [
    ([[0, 0, 8, np.nan]], 'box 0 is .*nan'),
    ([[0, 0, 8, 8], [4, 4, 4, 8]], 'box 1 is .*right > left'),
    ([[8, 8, 2, 2]], 'box 0'),
    ([0, 0, 8, 8], r'shape \(M, 4\), .* of shape \(4,\)'),
    (np.zeros((2, 5)), r'of shape \(2, 5\)'),
    ([[]], r'of shape \(1, 0\)'),
    ([[0, 0, 8, 8], [0, 0, 8]], r'boxes must .* shape \(M, 4\)'),
    ([['0', '0', '8', '8']], 'must be numbers .* got <U1'),
    ([[0, 0, 8, 8j]], 'must be numbers .* got complex'),
    ([[0, 0, 8, 10**30]], 'must be numbers .* got object'),
    ([[0, 0, 8, 1e300]], 'at most 1,000,000 pixels away'),
    (np.ones((10001, 4)), r'at most 10,000 people, got .*\(10001, 4\)'),
])
def test_wrong_boxes(exported, picture, boxes, match):
    with pytest.raises(ValueError, match=match):
        PoseRuntime(exported('lgm'))(picture, boxes)


@pytest.mark.parametrize('crops', [
    np.zeros((2, 96, 128, 3), np.uint8),
    np.zeros((2, 128, 96, 3), np.float32),
    np.zeros((128, 96, 3), np.uint8), None, [[0]]
])
def test_wrong_crops(exported, crops):
    with pytest.raises(ValueError, match=r'shape \(M, \*\(128, 96, 3\)\)'):
        PoseRuntime(exported('lgm')).predict_crops(crops)


def test_flip_test_needs_heat_maps(exported, picture):
    with pytest.raises(ValueError, match='--no-decode'):
        PoseRuntime(exported('lgm'))(picture, flip_test=True)


@pytest.mark.parametrize('backend', BACKENDS)
def test_what_a_runtime_raises_names_the_file(exported, backend):
    opened = session.open_session(exported('lgm'), backend)
    with pytest.raises(ValueError, match=f'{backend} cannot run .*onnx: '):
        opened.run(np.zeros((1, 2)))


def test_wrong_files(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match='missing.onnx'):
        PoseRuntime(tmp_path / 'missing.onnx')
    (tmp_path / 'lonely.xml').write_text('<net/>')
    with pytest.raises(FileNotFoundError, match='lonely.bin'):
        PoseRuntime(tmp_path / 'lonely.xml')
    (tmp_path / 'model.pth').write_bytes(b'x')
    for name in (tmp_path / 'model.pth', 'lgm-pose'):
        with pytest.raises(
                ValueError, match='neither a file .*lgm-pose_body17-256x192'):
            PoseRuntime(name)
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(Path(exported('lgm')).read_bytes()[:5000])
    for backend in BACKENDS:
        with pytest.raises(
                ValueError, match='broken.onnx is not an ONNX file'):
            PoseRuntime(broken, backend)
    with pytest.raises(ValueError, match="not by 'tensorrt'"):
        PoseRuntime(exported('lgm'), 'tensorrt')
    with pytest.raises(ValueError, match='threads'):
        PoseRuntime(exported('lgm'), threads=0)


@pytest.mark.parametrize('backend', BACKENDS)
def test_files_of_others(exported, tmp_path, backend):
    model = onnx.load(exported('lgm'))
    file = str(tmp_path / 'model.onnx')
    onnx.helper.set_model_props(
        model, {session.METADATA_KEY: json.dumps(dict(format_version=3))})
    onnx.save(model, file)
    with pytest.raises(ValueError, match='format version 3'):
        PoseRuntime(file, backend)
    del model.metadata_props[:]
    onnx.save(model, file)
    with pytest.raises(ValueError, match='no metadata.*lgm-pose export'):
        PoseRuntime(file, backend)


def run_python(script, *args, **environ):
    environ = {'PYTHONPATH': str(ROOT), **environ}
    return subprocess.run(
        [sys.executable, '-c',
         textwrap.dedent(script), *args],
        env=dict(os.environ, **environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True)


def test_signals_after_openvino(exported):
    """Two that were opened and closed leave no freed stack for handlers."""
    result = run_python(
        """
        import os, signal, sys
        from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
        first, second = PoseRuntime(sys.argv[1]), PoseRuntime(sys.argv[1])
        del first
        del second
        signal.signal(signal.SIGUSR1, lambda *args: print('handled'))
        os.kill(os.getpid(), signal.SIGUSR1)
        """, exported('lgm', '.xml'))
    assert (result.returncode, result.stdout) == (0, 'handled\n')


@pytest.mark.promise('runtime-alone')
@pytest.mark.parametrize('backend', BACKENDS)
def test_needs_no_torch(exported, picture, tmp_path, backend):
    np.save(tmp_path / 'picture.npy', picture)
    result = run_python(
        '''
        import sys
        blocked = ('torch', 'torchvision', 'mmpose', 'mmengine', 'mmcv',
                   'mmdet', 'onnx', 'scipy', 'matplotlib')
        sys.modules.update(dict.fromkeys(blocked))
        from lgm_pose_plugin.runtime.pose_runtime import PoseRuntime
        import numpy as np
        network = PoseRuntime(sys.argv[1], sys.argv[2])
        keypoints, scores = network(np.load(sys.argv[3]), [[9, 9, 99, 99]])
        found = [name for name in sys.modules
                 if name.split('.')[0] in blocked and sys.modules[name]]
        assert not found, found
        print(keypoints.tolist())
        ''', exported('udp', decode=False, batch=2), backend,
        str(tmp_path / 'picture.npy'))
    assert result.returncode == 0, result.stderr
    network = PoseRuntime(exported('udp', decode=False, batch=2), backend)
    expected, _ = network(picture, [[9, 9, 99, 99]])
    np.testing.assert_allclose(json.loads(result.stdout), expected, atol=1e-3)


@pytest.mark.promise('runtime-alone')
def test_runs_where_mmpose_is_broken():
    """And imports nothing that it does not need."""
    result = run_python('''
        import sys
        sys.modules['mmcv'] = None
        from lgm_pose_plugin.runtime import PoseRuntime
        print(sorted({'torch', 'mmpose', 'mmengine', 'mmdet', 'onnxruntime',
                      'openvino'}.intersection(sys.modules)))
        from lgm_pose_plugin.cli import main
        main(['doctor', '--help'])
        ''')
    assert result.stdout.startswith('[]\nusage:'), result.stderr


def test_padding_and_order_of_colours(small_network, tmp_path, picture):
    """Other ones than our configs have."""
    config, options, checkpoint = small_network('udp')
    options = {
        **options, 'test_dataloader.dataset.pipeline.1.padding': 1.6,
        'model.data_preprocessor.bgr_to_rgb': False
    }
    file = str(tmp_path / 'net.onnx')
    exporter.export(
        config,
        checkpoint,
        file,
        normalize=False,
        samples=2,
        cfg_options=options)
    model = init_model(
        networks.load_config(config, options), checkpoint, device='cpu')
    assert_same(
        PoseRuntime(file)(picture, BOXES), predict(model, picture, BOXES,
                                                   False))


@pytest.mark.parametrize('backend', BACKENDS)
def test_threads(exported, monkeypatch, backend):
    file, asked = exported('udp'), []
    if backend == 'onnxruntime':
        import onnxruntime
        open_model = onnxruntime.InferenceSession

        def record(model, options, **kwargs):
            asked.append(options.intra_op_num_threads)
            return open_model(model, options, **kwargs)

        monkeypatch.setattr(onnxruntime, 'InferenceSession', record)
    else:
        core = session.openvino_core()

        class Core:

            def __getattr__(self, name):
                return getattr(core, name)

            def compile_model(self, model, device, config):
                asked.append(config['INFERENCE_NUM_THREADS'])
                return core.compile_model(model, device, config)

        monkeypatch.setattr(session, 'openvino_core', Core)
    for threads in (1, 2):
        session.open_session(file, backend, threads)
    assert asked == [1, 2]


def test_openvino_devices_are_chosen_by_name(exported, picture):
    file = exported('lgm')
    found = PoseRuntime(file, device='openvino:CPU')(picture)
    expected = PoseRuntime(file, backend='openvino')(picture)
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize('device, error, message', [
    ('cuda', ImportError, 'cuda needs onnxruntime-gpu'),
    ('directml', ImportError, 'directml needs onnxruntime-directml'),
    ('openvino:GPU', ImportError, 'finds no device GPU here, only CPU'),
    ('cuda:1', ImportError, 'cuda needs onnxruntime-gpu'),
    ('cpu:0', ValueError, "onnxruntime has no device 'cpu:0'.*tensorrt"),
    ('gpu', ValueError, "onnxruntime has no device 'gpu'"),
])
def test_devices_that_are_not_there(exported, device, error, message):
    with pytest.raises(error, match=message):
        PoseRuntime(exported('lgm'), device=device)


def test_devices_of_another_runtime(exported):
    with pytest.raises(ValueError, match="openvino has no device 'cuda'"):
        PoseRuntime(exported('lgm'), 'openvino', device='cuda')


def test_no_silent_fallback_to_the_cpu(exported, monkeypatch):
    """ONNX Runtime goes on without a provider whose libraries are missing."""
    monkeypatch.setattr('onnxruntime.get_available_providers',
                        lambda: ['CUDAExecutionProvider'])
    with pytest.raises(ImportError, match='cannot start device cuda'):
        PoseRuntime(exported('lgm'), device='cuda')


def test_a_device_goes_to_worker_processes(exported):
    runtime = PoseRuntime(exported('lgm'), device='openvino:CPU')
    copy = pickle.loads(pickle.dumps(runtime))
    assert copy.session.outputs == runtime.session.outputs
    assert 'openvino:CPU' in copy.__reduce__()[1]


@pytest.mark.parametrize('device', [*session.PROVIDERS][1:] + ['openvino:GPU'])
def test_devices_agree_with_the_cpu(exported, picture, device):
    try:
        runtime = PoseRuntime(exported('lgm'), device=device)
    except ImportError as error:
        pytest.skip(str(error))
    np.testing.assert_allclose(
        runtime(picture)[0],
        PoseRuntime(exported('lgm'))(picture)[0],
        atol=0.05)
