"""The rendered data set: exact, reproducible, and what MMPose reads."""
import hashlib
import json
import os.path as osp
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.fileio import load
from mmpose.datasets import CocoDataset
from mmpose.evaluation import CocoMetric
from xtcocotools.coco import COCO

from lgm_pose_plugin.cli import main
from lgm_pose_plugin.datasets.rendered import figure, scene
from lgm_pose_plugin.datasets.rendered.figure import PARTS, Figure, hull
from lgm_pose_plugin.datasets.rendered.scene import annotate, render_image
from lgm_pose_plugin.datasets.rendered.writer import write_dataset

NUM_IMAGES = 30
ANN_FILE = 'annotations/person_keypoints_train2017.json'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('rendered')
    assert write_dataset(str(root), NUM_IMAGES, seed=0)
    return root


@pytest.fixture(scope='module')
def content(root):
    return load(str(root / ANN_FILE))


def _digests(folder):
    return {
        str(path.relative_to(folder)):
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob('*') if path.is_file()
    }


def _keypoints(annotation):
    return np.array(annotation['keypoints']).reshape(17, 3)


def _render_alone(seed, image_size=(320, 240)):
    person = Figure(np.random.default_rng(seed), image_size)
    ids = scene._paint_ids([(1, person.shapes)], image_size)
    return person, ids


@pytest.mark.promise('render')
def test_same_seed_gives_the_same_bytes(root, tmp_path):
    write_dataset(str(tmp_path), NUM_IMAGES, seed=0)
    assert _digests(tmp_path) == _digests(root)


@pytest.mark.parametrize('change', [dict(seed=1), dict(split='val2017')])
def test_other_seeds_and_splits_share_no_image(root, tmp_path, change):
    write_dataset(str(tmp_path), 5, **{**dict(seed=0), **change})
    images = {
        digest
        for name, digest in _digests(tmp_path).items() if name.endswith('jpg')
    }
    assert len(images) == 5
    assert not images & set(_digests(root).values())


def test_image_does_not_depend_on_their_number(root, content, tmp_path):
    write_dataset(str(tmp_path), 4, seed=0)
    for path in (tmp_path / 'train2017').iterdir():
        assert path.read_bytes() == (root / 'train2017' /
                                     path.name).read_bytes()
    few = load(str(tmp_path / ANN_FILE))['annotations']
    assert few == content['annotations'][:len(few)]


def test_read_by_xtcocotools(root):
    coco = COCO(str(root / ANN_FILE))
    assert coco.getImgIds() == list(range(1, NUM_IMAGES + 1))
    category, = coco.loadCats(coco.getCatIds(catNms=['person']))
    assert category['keypoints'][0] == 'nose'
    assert category['keypoints'][16] == 'right_ankle'
    names = category['keypoints']
    edges = {(names[a - 1], names[b - 1]) for a, b in category['skeleton']}
    assert {('left_ankle', 'left_knee'), ('left_hip', 'right_hip'),
            ('nose', 'left_eye'), ('right_ear', 'right_shoulder')} <= edges
    assert len(edges) == 19
    for image in coco.loadImgs(coco.getImgIds()):
        pixels = cv2.imread(str(root / 'train2017' / image['file_name']))
        assert pixels.shape == (image['height'], image['width'], 3)


def test_read_by_mmpose(root, content):
    dataset = CocoDataset(
        ann_file=ANN_FILE,
        data_root=str(root),
        data_prefix=dict(img='train2017/'),
        data_mode='topdown',
        pipeline=[dict(type='mmpose.LoadImage')])
    assert len(dataset) == len(content['annotations'])
    item = dataset[0]
    assert item['img'].shape == (240, 320, 3)
    expected = _keypoints(content['annotations'][0])
    np.testing.assert_allclose(item['keypoints'][0], expected[:, :2])
    np.testing.assert_array_equal(item['keypoints_visible'][0],
                                  np.minimum(expected[:, 2], 1))


def test_ground_truth_has_full_average_precision(root, content):
    metric = CocoMetric(
        ann_file=str(root / ANN_FILE), score_mode='bbox', nms_mode='none')
    metric.dataset_meta = CocoDataset(
        ann_file='',
        data_prefix=dict(img=''),
        metainfo=CocoDataset.METAINFO,
        lazy_init=True).metainfo
    for annotation in content['annotations']:
        keypoints = _keypoints(annotation)[None]
        metric.process({}, [
            dict(
                id=annotation['id'],
                img_id=annotation['image_id'],
                category_id=annotation['category_id'],
                pred_instances=dict(
                    keypoints=keypoints[..., :2],
                    keypoint_scores=np.ones((1, 17))),
                gt_instances=dict(
                    bbox_scores=np.ones(1),
                    bbox_scales=np.array([annotation['bbox'][2:]])))
        ])
    result = metric.evaluate(size=len(content['annotations']))
    assert result['coco/AP'] == pytest.approx(1)
    assert result['coco/AR'] == pytest.approx(1)


def test_annotations_are_consistent(content):
    flags = []
    for annotation in content['annotations']:
        keypoints = _keypoints(annotation)
        labelled = keypoints[:, 2] > 0
        assert np.all(keypoints[~labelled] == 0)
        assert np.all(keypoints[:, :2] >= 0)
        assert np.all(keypoints[:, :2] <= (319, 239))
        assert annotation['num_keypoints'] == np.count_nonzero(labelled)
        assert np.count_nonzero(keypoints[:, 2] == 2) >= 5
        left, top, width, height = annotation['bbox']
        assert left >= 0 and top >= 0
        assert left + width <= 320 and top + height <= 240
        assert 0 < annotation['area'] <= width * height
        points = keypoints[labelled, :2]
        assert np.all(points >= (left - 1, top - 1))
        assert np.all(points <= (left + width + 1, top + height + 1))
        flags.extend(keypoints[:, 2])
    assert set(flags) == {0, 1, 2}
    # COCO's evaluation takes the id 0 for "not matched".
    ids = [annotation['id'] for annotation in content['annotations']]
    assert ids == list(range(1, len(ids) + 1))


def test_one_to_max_people_occur(content):
    ids = [annotation['image_id'] for annotation in content['annotations']]
    assert set(np.bincount(ids)[1:]) == {1, 2, 3}


def test_bbox_and_area_are_those_of_the_painted_body():
    for seed in range(20):
        person, ids = _render_alone(seed)
        annotation = annotate(ids, person, 1)
        rows, columns = np.nonzero(ids)
        left, top, width, height = annotation['bbox']
        assert annotation['area'] == len(rows)
        assert (left, top) == (columns.min(), rows.min())
        assert left + width == columns.max() + 1
        assert top + height == rows.max() + 1


def test_occluded_keypoints_are_labelled_as_such():
    person, ids = _render_alone(3)
    alone = annotate(ids, person, 1)
    before = _keypoints(alone)
    assert np.count_nonzero(before[:, 2] == 2) > 5
    corners = np.array([(0, 0), (320, 0), (320, 240), (0, 240)], np.float64)
    blind = (0, hull(corners), [0, 0, 0])
    first = 1 + len(PARTS)
    ids = scene._paint_ids([(1, person.shapes), (first, [blind])], (320, 240))
    annotation = annotate(ids, person, 1)
    hidden = _keypoints(annotation)
    np.testing.assert_array_equal(hidden[:, 2], np.minimum(before[:, 2], 1))
    np.testing.assert_array_equal(hidden[:, :2], before[:, :2])
    assert annotation['area'] == 0
    assert annotation['bbox'] == alone['bbox']


def test_people_occlude_one_another():
    person, ids = _render_alone(3)
    before = _keypoints(annotate(ids, person, 1))[:, 2]
    first = 1 + len(PARTS)
    for starts, visible in (([1, first], False), ([first, 1], True)):
        ids = scene._paint_ids([(start, person.shapes) for start in starts],
                               (320, 240))
        flags = _keypoints(annotate(ids, person, 1))[:, 2]
        np.testing.assert_array_equal(
            flags, before if visible else np.minimum(before, 1))


def test_keypoints_are_the_centres_of_what_is_painted():
    errors = []
    for seed in range(40):
        person, _ = _render_alone(seed, (640, 480))
        for index, name in ((1, 'left_eye'), (2, 'right_eye')):
            shapes = [
                shape for shape in person.shapes
                if shape[0] == figure.PART_INDEX[name]
            ]
            ids = scene._paint_ids([(1, shapes)], (640, 480))
            rows, columns = np.nonzero(ids)
            x, y = person.keypoints[index]
            if 10 < x < 630 and 10 < y < 470:
                errors.append((columns.mean() - x, rows.mean() - y))
    assert len(errors) > 40
    # The bias of a wrong pixel convention would be half a pixel.
    assert np.abs(np.mean(errors, axis=0)).max() < .1
    assert np.abs(errors).max() < .6


def test_front_and_back_are_told_apart_and_sides_are_the_persons_own():
    front, back, skin_shares = [], [], {True: [], False: []}
    for seed in range(300):
        frames = figure._sample_frames(np.random.default_rng(seed))
        person, ids = _render_alone(seed)
        flags = _keypoints(annotate(ids, person, 1))[:, 2]
        face = flags[:3]
        facing, upright = frames['head'][2, 2], frames['torso'][1, 1] > .8
        if np.all(face > 0) and abs(facing) > .85 and upright:
            (front if facing > 0 else back).append(face == 2)
            head, hair = (
                np.count_nonzero(ids == 1 + PARTS.index(part))
                for part in ('head', 'hair'))
            skin_shares[facing > 0].append(head / (head + hair + 1))
            order = person.keypoints[1, 0] - person.keypoints[2, 0]
            assert order * facing > 0
            if frames['torso'][2, 2] * facing > .85 * abs(facing):
                order = person.keypoints[5, 0] - person.keypoints[6, 0]
                assert order * facing > 0
    assert len(front) > 20 and len(back) > 10
    assert np.mean(front) > .9  # an arm may hide an eye
    assert not np.any(back)
    assert np.median(skin_shares[True]) > .4
    assert np.median(skin_shares[False]) < .1


def test_existing_dataset_is_kept_unless_told_otherwise(tmp_path):
    root = str(tmp_path)
    write_dataset(root, 3, seed=0)
    before = _digests(root)
    assert not write_dataset(root, 3, seed=0)
    with pytest.raises(ValueError, match='another num_images, max_people;'):
        write_dataset(root, 2, seed=0, max_people=1)
    assert _digests(root) == before
    assert write_dataset(root, 2, seed=0, max_people=1, overwrite=True)
    assert len(_digests(root)) == 3


@pytest.mark.parametrize('overwrite', [False, True])
@pytest.mark.parametrize('name', [ANN_FILE, 'train2017/000000000009.jpg'])
def test_foreign_files_are_never_replaced(tmp_path, name, overwrite):
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(json.dumps(dict(info=dict(description='COCO 2017'))))
    before = _digests(tmp_path)
    with pytest.raises(ValueError, match='choose another'):
        write_dataset(str(tmp_path), 1, seed=0, overwrite=overwrite)
    assert _digests(tmp_path) == before


def test_stopped_run_leaves_no_dataset(tmp_path, monkeypatch):

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(scene, 'annotate', stop)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(str(tmp_path), 2, seed=0)
    assert not (tmp_path / 'train2017').exists()
    assert not (tmp_path / ANN_FILE).exists()
    assert write_dataset(str(tmp_path), 2, seed=0)
    assert len(_digests(tmp_path)) == 3


@pytest.mark.parametrize('change, message', [
    (dict(num_images=0), 'num_images=0.* use at least 1 image'),
    (dict(seed=-1), 'seed=-1; use .* not negative'),
    (dict(image_size=(320, 10)), r'image_size=\(320, 10\).* 64x64 pixels'),
    (dict(max_people=0), 'max_people=0; use .* 1 person'),
])
def test_wrong_parameters(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_dataset(
            str(tmp_path / 'out'), **{
                **dict(num_images=1, seed=0),
                **change
            })
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('image_size', [(64, 64), (65, 300), (401, 97)])
def test_any_image_size(image_size):
    image, people = render_image(
        np.random.default_rng(0), image_size, max_people=4)
    assert image.shape == (image_size[1], image_size[0], 3)
    assert image.dtype == np.uint8 and image.std() > 5
    assert people


def test_command_line(tmp_path, capsys):
    root = str(tmp_path / 'out')
    argv = ['render', root, '--train', '2', '--val', '1', '--size', '96x80']
    assert main(argv) == 0
    for split, number in (('train2017', 2), ('val2017', 1)):
        file = osp.join(root, 'annotations', f'person_keypoints_{split}.json')
        images = load(file)['images']
        assert [image['id'] for image in images] == list(range(1, number + 1))
        assert images[0]['width'] == 96 and images[0]['height'] == 80
    capsys.readouterr()
    before = _digests(root)
    assert main(argv) == 0
    assert capsys.readouterr().out.count('nothing to do') == 2
    assert main(argv + ['--seed', '1']) == 1
    assert '--overwrite' in capsys.readouterr().err
    assert _digests(root) == before
    assert main(argv + ['--seed', '1', '--overwrite']) == 0
    assert _digests(root) != before


def test_command_line_reports_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert main(['render', str(tmp_path / 'file' / 'x'), '--train', '1']) == 1
    error, = capsys.readouterr().err.strip().splitlines()
    assert error.startswith('lgm-pose render: ') and 'file' in error


def test_command_line_refuses_a_malformed_size(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(['render', str(tmp_path), '--size', '320'])
    assert error.value.code == 2
    assert "--size: invalid size value: '320'" in capsys.readouterr().err
