"""PCK of the torso, and COCO's AP on the same 14 joints."""
import numpy as np
import pytest
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS, METRICS

from lgm_pose_plugin.datasets import LspDataset
from lgm_pose_plugin.datasets.converters.lsp import convert
from lgm_pose_plugin.evaluation.metrics import LspPCKAccuracy

LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER, LEFT_HIP = 9, 2, 8, 3


@pytest.fixture
def truth():
    """A person whose torso is 50 pixels long, the other diagonal 100."""
    truth = np.random.default_rng(0).uniform(0, 200, (14, 2))
    truth[RIGHT_HIP] = (70, 90)
    truth[LEFT_SHOULDER] = (100, 50)
    truth[LEFT_HIP] = (100, 130)
    truth[RIGHT_SHOULDER] = (40, 50)
    return truth


def evaluate(*people, **options):
    """PCK of (truth, prediction, visible)."""
    metric = LspPCKAccuracy(**options)
    metric.process({}, [
        dict(
            gt_instances=dict(
                keypoints=truth[None], keypoints_visible=visible[None]),
            pred_instances=dict(keypoints=predicted[None]))
        for truth, predicted, visible in people
    ])
    return metric.evaluate(len(people))


def visible_but(*joints):
    visible = np.ones(14, np.float32)
    visible[list(joints)] = 0
    return visible


@pytest.mark.promise('lsp-pck')
@pytest.mark.parametrize('distance, options, pck', [
    (0, {}, 1),
    (9.9, {}, 1),
    (10.1, {}, 0),
    (24, dict(thr=.5), 1),
    (26, dict(thr=.5), 0),
])
def test_threshold(truth, distance, options, pck):
    metrics = evaluate((truth, truth + (0, distance), visible_but()),
                       **options)
    names = ('PCK', 'ankle PCK', 'knee PCK', 'hip PCK', 'wrist PCK',
             'elbow PCK', 'shoulder PCK', 'neck PCK', 'head PCK')
    assert metrics == {f'lsp/{name}': pck for name in names}


@pytest.mark.promise('lsp-pck')
@pytest.mark.parametrize('missing', [LEFT_SHOULDER, RIGHT_HIP])
@pytest.mark.parametrize('distance, pck', [(19.9, 1), (20.1, 0)])
def test_other_diagonal(truth, missing, distance, pck):
    visible = visible_but(missing)
    metrics = evaluate((truth, truth + (0, distance), visible))
    assert metrics['lsp/PCK'] == pck


@pytest.mark.promise('lsp-pck')
def test_people_without_torso_are_left_out(truth, logged):
    without = visible_but(LEFT_SHOULDER, LEFT_HIP)
    metrics = evaluate((truth, truth, visible_but()),
                       (truth, truth + 1000, without))
    assert metrics['lsp/PCK'] == 1
    assert any('on 1 of 2 people' in message for message in logged)
    metrics = evaluate((truth, truth, without))
    assert len(metrics) == 9 and np.isnan(list(metrics.values())).all()
    assert any('on 0 of 1 people' in message for message in logged)


def test_only_labelled_joints_count(truth):
    predicted = truth.copy()
    predicted[0] += 1000
    first = (truth, predicted, visible_but())  # the right ankle is wrong
    second = (truth, predicted, visible_but(0))  # and here not labelled
    metrics = evaluate(first, second)
    assert metrics['lsp/ankle PCK'] == .5
    assert metrics['lsp/PCK'] == pytest.approx(13 / 14)
    # Of one side only, and of none.
    metrics = evaluate(second)
    assert metrics['lsp/ankle PCK'] == metrics['lsp/PCK'] == 1
    metrics = evaluate((truth, predicted, visible_but(0, 5)))
    assert np.isnan(metrics['lsp/ankle PCK']) and metrics['lsp/PCK'] == 1


def test_other_key_points_are_refused():
    metric = METRICS.build(dict(type='LspPCKAccuracy'))
    assert metric.dataset_meta is None
    metric.dataset_meta = parse_pose_metainfo(LspDataset.METAINFO)
    for other in ('coco', 'crowdpose', 'mpii'):  # of 17, 14 and 16
        meta = parse_pose_metainfo(
            dict(from_file=f'configs/_base_/datasets/{other}.py'))
        with pytest.raises(ValueError, match='14 joints.*left_'):
            metric.dataset_meta = meta


@pytest.fixture(scope='module')
def dataset(rendered_lsp, tmp_path_factory):
    root = tmp_path_factory.mktemp('lsp')
    rendered_lsp(root, 8)
    convert(str(root), str(root), val_from=2)
    return DATASETS.build(
        dict(
            type='LspDataset',
            data_root=str(root),
            ann_file='annotations/lspet_val.json',
            data_prefix=dict(img='images/'),
            test_mode=True))


@pytest.mark.parametrize('shift', [0, 100])
def test_metrics_of_the_configs(load_config, dataset, shift):
    """The truth as prediction gets 1, something else 0."""
    pck, coco = load_config(
        'td-hm_lgm-pose_1xb16-12e_lsp-256x192').val_evaluator
    coco = dict(coco, ann_file=dataset.ann_file)
    metrics = {}
    for cfg in (pck, coco):
        metric = METRICS.build(cfg)
        metric.dataset_meta = parse_pose_metainfo(LspDataset.METAINFO)
        for item in dataset:
            metric.process({}, [
                dict(
                    id=item['id'],
                    img_id=item['img_id'],
                    category_id=1,
                    gt_instances=dict(
                        keypoints=item['keypoints'],
                        keypoints_visible=item['keypoints_visible'],
                        bbox_scores=np.ones(1)),
                    pred_instances=dict(
                        keypoints=item['keypoints'] + shift,
                        keypoint_scores=np.ones((1, 14))))
            ])
        metrics.update(metric.evaluate(len(dataset)))
    assert metrics['lsp/PCK'] == metrics['coco/AP'] == (shift == 0)
