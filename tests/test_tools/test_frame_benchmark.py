"""tools/frame_benchmark.py times whole frames."""
import numpy as np
import pytest
from mmpose.apis import inference_topdown

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('openvino')
from lgm_pose_plugin.models import builder as networks  # noqa: E402


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('frame_benchmark')


@pytest.fixture(scope='module')
def frame(tool):
    return tool.rendered_frame()


@pytest.fixture(params=['udp', 'rtmpose'])
def network(request, tool, small_network):
    """Config and network; heat maps and SimCC."""
    path, options, checkpoint = small_network(request.param)
    cfg = networks.load_config(path)
    cfg.merge_from_dict(options)
    model = tool.prepare_model(cfg)
    model.load_state_dict(networks.load_checkpoint(checkpoint)['state_dict'])
    return cfg, model


def test_frame(frame):
    image, boxes, keypoints = frame
    assert image.shape == (480, 640, 3) and image.dtype == np.uint8
    assert boxes.shape == (4, 4) and keypoints.shape == (4, 17, 2)
    for (left, top, right, bottom), points in zip(boxes, keypoints):
        assert right - left > 20 and bottom - top > 20
        center = points[points.any(1)].mean(0)
        assert left < center[0] < right and top < center[1] < bottom


@pytest.mark.e2e
def test_parts_are_those_of_the_whole(tool, frame, network, tmp_path):
    """What is timed part by part computes what is timed as one."""
    image, boxes, _ = frame
    cfg, model = network
    calls = tool.frame_calls(model, '', 'eager', 1, 4, *frame)
    assert set(calls) == {'whole', *tool.STAGES}
    assert calls['read']().shape == image.shape
    few = tool.frame_calls(model, '', 'eager', 1, 1, *frame)
    drawn = [(one['draw']() != image).sum() for one in (few, calls)]
    assert 0 < drawn[0] < drawn[1]
    expected = [one.pred_instances for one in calls['whole']()]
    for one, other in zip(calls['decode'](), expected):
        np.testing.assert_array_equal(one.pred_instances.keypoints,
                                      other.keypoints)
    assert len(calls['crop']()) == len(expected) == 4
    file = tool.export_graph(cfg, model, str(tmp_path))
    for backend in ('onnxruntime', 'openvino'):
        parts = tool.runtime_calls(file, backend, 1, image, boxes)
        assert set(parts) == set(calls) - {'read', 'draw'}
        keypoints, scores = parts['whole']()
        decoded = parts['decode']()
        np.testing.assert_allclose(decoded['scores'], scores, atol=1e-4)
        wanted = np.concatenate([one.keypoint_scores for one in expected])
        np.testing.assert_allclose(scores, wanted, atol=1e-4)
        normalized, = {
            id(value): value
            for value in parts['normalize']().values()
        }.values()
        inputs = model.data_preprocessor(
            tool.pseudo_collate(calls['crop']()), False)['inputs']
        np.testing.assert_allclose(normalized, inputs, atol=1e-5)


def test_flip_test_is_off(frame, network):
    image, boxes, _ = frame
    _, model = network
    assert not model.test_cfg['flip_test']
    before = inference_topdown(model, image, boxes[:1])[0].pred_instances
    model.test_cfg['flip_test'] = True
    after = inference_topdown(model, image, boxes[:1])[0].pred_instances
    assert not np.array_equal(before.keypoint_scores, after.keypoint_scores)


def test_figures(tool, load_tool, monkeypatch):
    """Times are those of the stages, whatever the machine does."""
    durations = dict(
        read=1., crop=2., normalize=3., network=40., decode=5., draw=6.)
    durations['whole'] = 50.
    monkeypatch.setattr(tool, 'frame_calls',
                        lambda *args: dict(zip(durations, durations)))
    monkeypatch.setattr(tool, 'export_graph', lambda *args: '')
    monkeypatch.setattr(tool, 'time_call', lambda part: 1e-3 * durations[part])
    report = tool.time_frames(['rtmpose-t'], rounds=3, threads=1)
    results = report['results']
    assert [(result['backend'], result['people']) for result in results] == [
        (backend, people) for backend in tool.BACKENDS for people in (1, 4)
    ]
    for result in results:
        assert result['total_ms'] == pytest.approx(50.)
        assert result['around_share'] == pytest.approx(.2)
        assert result['stages_ms'] == pytest.approx(
            {stage: durations[stage]
             for stage in tool.STAGES})
    lines = load_tool('benchmark_docs').frames_table(results)
    assert ('| rtmpose-t | eager | 1 | 1.00 | 2.00 | 3.00 | 40.00 | 5.00 '
            '| 6.00 | 50.00 | 50.00-50.00 | 20.0% |') in lines


@pytest.mark.e2e
def test_a_video(tool):
    """Every stage takes time, and network and detector are followed."""
    pytest.importorskip('av')
    pytest.importorskip('supervision')
    pytest.importorskip('trackers')
    name = ('lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/rendered/'
            'td-hm_lgm-pose_1xb4-2e_rendered-128x96.py')
    result = tool.time_video(name, 8, 4, 1)
    assert result['frames'] == 8 and result['per_second'] > 0
    assert tuple(result['stages']) == tool.VIDEO_STAGES
    for times in result['stages'].values():
        assert 0 < times['cpu_ms'] and 0 < times['wall_ms']
    assert sum(result['parts'].values()) == pytest.approx(1)
    table = tool.video_table(result)
    assert '| decode key points, in the graph |' in table
    assert f'| whole frame | {result["cpu_ms"]:.2f} |' in table
