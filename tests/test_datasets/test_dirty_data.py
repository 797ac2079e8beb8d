"""Broken pictures and annotations: nothing crashes, nothing is trained on."""
import functools
import io
import json
import math
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import dump, load
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmengine.utils import get_installed_path
from mmpose.registry import DATASETS, METRICS
from PIL import Image
from scipy.io import savemat

from lgm_pose_plugin.datasets import BadDataError
from lgm_pose_plugin.datasets.transforms.loading import (LoadCheckedImage,
                                                         is_cut_jpeg,
                                                         read_size)

CONFIGS = dict(
    coco='td-hm_lgm-pose_1xb32-260e_coco-256x192',
    lsp='td-hm_lgm-pose_1xb16-12e_lsp-256x192',
    mpii='td-hm_lgm-pose_1xb32-260e_mpii-256x256')
KEYPOINTS = dict(coco=17, lsp=14, mpii=16)
WIDTH, HEIGHT = 64, 48


def picture(rng):
    noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def encoded(image, mode='RGB', form='JPEG', **options):
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, form, **options)
    return file.getvalue()


def cut(rng, content):
    return content[:int(rng.uniform(0.02, 0.98) * len(content))]


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def scrambled(rng, content):
    content = bytearray(content)
    for position in rng.integers(0, len(content), 40):
        content[position] = rng.integers(256)
    return bytes(content)


# Each makes a file's content (None: no file) of a generator and a picture.
UNREADABLE = dict(
    cut_jpeg=lambda rng, image: cut(rng, encoded(image)),
    cut_progressive=lambda rng, image: cut(rng, encoded(
        image, progressive=True)),
    without_end=lambda rng, image: encoded(image)[:-2],
    cut_png=lambda rng, image: cut(rng, encoded(image, form='PNG')),
    cut_bmp=lambda rng, image: cut(rng, encoded(image, form='BMP')),
    empty=lambda rng, image: b'',
    missing=lambda rng, image: None,
    noise=lambda rng, image: rng.bytes(int(rng.integers(1, 5000))),
    web_page=lambda rng, image: b'<!DOCTYPE html><title>404</title>' * 9,
    no_scan=lambda rng, image: encoded(image)[:20])
WRONG_SIZE = dict(
    one_pixel=lambda rng, image: encoded(image[:1, :1]),
    smaller=lambda rng, image: encoded(image[:, :-int(rng.integers(1, 60))]),
    turned=lambda rng, image: encoded(
        image, exif=exif(int(rng.integers(5, 9)))),
    long_line=lambda rng, image: encoded(
        np.resize(image, (2, 40000, 3)), form='PNG'))
FINE = dict(
    jpeg=lambda rng, image: encoded(image),
    with_rest=lambda rng, image: encoded(image) + rng.bytes(100),
    grey=lambda rng, image: encoded(image, 'L'),
    cmyk=lambda rng, image: encoded(image, 'CMYK'),
    palette=lambda rng, image: encoded(image, 'P', 'PNG'),
    transparent=lambda rng, image: encoded(image, 'RGBA', 'PNG'),
    png_16_bit=lambda rng, image: cv2.imencode(
        '.png', image[..., ::-1].astype(np.uint16) * 257)[1].tobytes(),
    upside_down=lambda rng, image: encoded(
        np.ascontiguousarray(image[::-1, ::-1]), exif=exif(3), quality=95),
    turned_back=lambda rng, image: encoded(
        np.ascontiguousarray(np.rot90(image)), exif=exif(6), quality=95))
SEEDS = range(4)


def person(rng, number_of_keypoints):
    points = rng.uniform((8, 8), (WIDTH - 8, HEIGHT - 8),
                         (number_of_keypoints, 2))
    return np.column_stack([points, np.full(number_of_keypoints, 2)]).round(1)


def coco_annotation(number, points):
    return dict(
        id=number,
        image_id=number,
        category_id=1,
        bbox=[4, 4, WIDTH - 8, HEIGHT - 8],
        area=1000,
        iscrowd=0,
        num_keypoints=len(points),
        keypoints=points.ravel().tolist())


def coco_file(annotations, names, size=(WIDTH, HEIGHT)):
    return dict(
        images=[
            dict(id=number, file_name=name, width=size[0], height=size[1])
            for number, name in enumerate(names, start=1)
        ],
        annotations=annotations,
        categories=[dict(id=1, name='person')])


def annotate(kind, folder, names):
    """Write sound annotations of one person per picture."""
    rng = np.random.default_rng(0)
    people = [person(rng, KEYPOINTS[kind]) for _ in names]
    if kind == 'mpii':
        heads = np.zeros((2, 2, len(names)))
        heads[1] = 10
        savemat(str(folder / 'heads.mat'), dict(headboxes_src=heads))
        data = [
            dict(
                image=name,
                center=[WIDTH / 2, HEIGHT / 2],
                scale=HEIGHT / 200,
                joints=points[:, :2].tolist(),
                joints_vis=[1] * len(points))
            for name, points in zip(names, people)
        ]
    else:
        data = coco_file([
            coco_annotation(number, points)
            for number, points in enumerate(people, start=1)
        ], names)
    (folder / 'data.json').write_text(json.dumps(data))


def write_sound(kind, folder, number):
    """Write that many sound pictures with annotations; the names."""
    names = [f'{one}.jpg' for one in range(1, number + 1)]
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).write_bytes(encoded(picture(rng)))
    annotate(kind, folder, names)
    return names


@contextmanager
def edited(path):
    """What a JSON file holds, written back afterwards."""
    data = json.loads(path.read_text())
    yield data
    path.write_text(json.dumps(data))


@functools.lru_cache(maxsize=None)
def meta_information(kind):
    """Of COCO or MPII, read once; MMPose reads it for each data set."""
    if kind == 'lsp':
        return None
    path = get_installed_path('mmpose')
    return Config.fromfile(f'{path}/.mim/configs/_base_/datasets/{kind}.py'
                           ).dataset_info.to_dict()


@pytest.fixture(scope='module')
def build_dataset(load_config):
    """Build the data set of a base config on what ``annotate`` writes."""

    def build(kind, folder, split='train', bbox_file=None, **options):
        cfg = load_config(CONFIGS[kind])[f'{split}_dataloader'].dataset
        cfg.update(
            data_root=str(folder),
            ann_file='data.json',
            bbox_file=bbox_file,
            data_prefix=dict(img=''),
            metainfo=meta_information(kind),
            # It collects garbage, which takes most of the time here.
            serialize_data=False,
            **options)
        if 'headbox_file' in cfg:
            cfg.headbox_file = str(folder / 'heads.mat')
        return DATASETS.build(cfg)

    return build


def assert_sound(sample, targets=True):
    assert sample['inputs'].dtype == torch.uint8
    tensors = [
        value for name in ('gt_fields', 'gt_instance_labels')
        for _, value in sample['data_samples'].get(name, {}).items()
    ]
    assert bool(tensors) is targets
    assert all(value.isfinite().all() for value in tensors)


def crop(sample):
    """Centre and size of a crop, (x, y) in pixels of the picture."""
    if 'input_center' in sample:
        return sample.input_center.astype(float), sample.input_scale
    people = sample.gt_instances  # MMPose 1.1
    return people.bbox_centers[0].astype(float), people.bbox_scales[0]


@pytest.fixture(scope='module', params=CONFIGS)
def pictures(request, tmp_path_factory):
    """A folder of all pictures, and which of them are fine, for a config."""
    kind = request.param
    folder = tmp_path_factory.mktemp(kind)
    fine = {}
    # MPII's annotations have no sizes.
    makers = dict(UNREADABLE, **(WRONG_SIZE if kind != 'mpii' else {}), **FINE)
    for number, (what, make) in enumerate(makers.items()):
        for seed in SEEDS:
            rng = np.random.default_rng([number, seed])
            content = make(rng, picture(rng))
            # Named by numbers, as MPII's.
            name = f'{1000 * (number + 1) + seed}.jpg'
            fine[name] = what in FINE
            if content is not None:
                (folder / name).write_bytes(content)
    annotate(kind, folder, list(fine))
    return kind, folder, fine


@pytest.mark.promise('dirty-data')
def test_bad_pictures_stop_training_and_are_named(pictures, build_dataset):
    kind, folder, fine = pictures
    dataset = build_dataset(kind, folder)
    assert len(dataset) == len(fine)
    for index, (name, is_fine) in enumerate(fine.items()):
        if is_fine:
            assert_sound(dataset[index])
            continue
        with pytest.raises(BadDataError) as error:
            dataset[index]
        assert str(folder / name) in str(error.value), name
        assert "on_bad='skip'" in str(error.value), name


@pytest.mark.promise('dirty-data')
def test_bad_pictures_are_skipped_and_listed(pictures, build_dataset):
    kind, folder, fine = pictures
    dataset = build_dataset(kind, folder, on_bad='skip')
    np.random.seed(0)
    listed = {}
    for index in range(len(dataset)):
        sample = dataset[index]
        assert_sound(sample)
        path = sample['data_samples'].img_path
        assert fine[os.path.basename(path)]
        for record in sample['data_samples'].get('skipped', []):
            listed[os.path.basename(record['image'])] = record['reason']
    assert set(listed) == {name for name in fine if not fine[name]}
    assert all(listed.values())
    assert sum(not is_fine for is_fine in fine.values()) >= 40


@pytest.mark.promise('missed-people')
def test_bad_pictures_count_as_missed_in_a_test(pictures, build_dataset):
    kind, folder, fine = pictures
    dataset = build_dataset(kind, folder, 'val', on_bad='skip')
    with pytest.warns(UserWarning, match='Use the existing "bbox_center"'):
        samples = [dataset[index] for index in range(len(dataset))]
    for index, (sample, name) in enumerate(zip(samples, fine)):
        assert_sound(sample, targets=False)
        data_sample = sample['data_samples']
        assert data_sample.img_path == str(folder / name)
        assert data_sample.id == index + (kind != 'mpii')
        assert ('skipped' in data_sample) is not fine[name]
        assert data_sample.gt_instances.bbox_scores[0] == fine[name]
        center, _ = crop(data_sample)
        assert (center < -1e5).all() == (not fine[name])
        assert (sample['inputs'] > 0).any() == fine[name]
    strict = build_dataset(kind, folder, 'val')
    broken = [index for index, name in enumerate(fine) if not fine[name]]
    for index in broken[::9]:
        with pytest.raises(BadDataError):
            strict[index]


@pytest.mark.promise('unusual-pictures')
def test_pictures_look_as_they_should(pictures, build_dataset):
    """Colours, bits and orientation, beside the plain JPEG."""
    kind, folder, fine = pictures
    dataset = build_dataset(
        kind, folder, pipeline=[dict(type='LoadCheckedImage')])
    makers = list(UNREADABLE) + (list(WRONG_SIZE) if kind != 'mpii' else [])
    for index, name in enumerate(fine):
        if not fine[name]:
            continue
        what = list(FINE)[index // len(SEEDS) - len(makers)]
        rng = np.random.default_rng([index // len(SEEDS), index % len(SEEDS)])
        wanted = picture(rng)[..., ::-1].astype(float)
        if what == 'grey':
            wanted[:] = cv2.cvtColor(
                wanted.astype(np.uint8), cv2.COLOR_BGR2GRAY)[..., None]
        image = dataset[index]['img']
        assert image.dtype == np.uint8 and image.shape == (HEIGHT, WIDTH, 3)
        difference = np.abs(image - wanted).mean()
        assert difference < (30 if what == 'palette' else 6), what


@pytest.mark.promise('unusual-pictures')
def test_very_wide_pictures(build_dataset, tmp_path):
    """20,000 px work; what OpenCV cannot cut out is refused, with its name."""
    rng = np.random.default_rng(0)
    for width in (20000, 40000):
        folder = tmp_path / str(width)
        folder.mkdir()
        image = np.resize(picture(rng), (HEIGHT, width, 3))
        (folder / '1.png').write_bytes(encoded(image, form='PNG'))
        points = person(rng, 17)
        points[:, 0] += width - WIDTH
        data = coco_file([
            dict(coco_annotation(1, points), bbox=[width - 60, 4, 56, 40]),
            dict(
                coco_annotation(2, points), image_id=1, bbox=[0, 0, width, 48])
        ], ['1.png'], (width, HEIGHT))
        (folder / 'data.json').write_text(json.dumps(data))
        dataset = build_dataset('coco', folder)
        for index in range(2):
            try:
                assert_sound(dataset[index])
            except BadDataError as error:
                assert width == 40000 and '1.png' in str(error)


# A preview has an end marker of its own.
@pytest.mark.parametrize('options', [
    dict(),
    dict(progressive=True),
    dict(exif=b'Exif\0\0' + encoded(np.zeros((9, 9, 3), np.uint8)))
])
def test_cut_jpegs_are_told_without_decoding(options):
    """OpenCV 4 decodes them, with grey in place of what is missing."""
    whole = encoded(picture(np.random.default_rng(0)), **options)
    assert not is_cut_jpeg(whole) and not is_cut_jpeg(whole + b'rest')
    scan = whole.index(b'\xff\xda', 40 + len(options.get('exif', b'')))
    for end in range(scan + 2, len(whole) - 1, 17):
        assert is_cut_jpeg(whole[:end]), end


def test_other_files_are_no_cut_jpegs():
    image = picture(np.random.default_rng(0))
    for content in (encoded(image, form='PNG'), b'', encoded(image)[:20]):
        assert not is_cut_jpeg(content)


# Each changes a sound annotation, or a list of all, with a generator; the
# words are in the reason.
def nan_in(name):

    def make(rng, annotation):
        values = np.array(annotation[name], float)
        values.flat[rng.integers(values.size)] = rng.choice(
            [math.nan, math.inf, -math.inf])
        annotation[name] = values.tolist()

    return make


def set_to(name, *values):

    def make(rng, annotation):
        annotation[name] = values[rng.integers(len(values))]

    return make


def without(name):
    return lambda rng, annotation: annotation.pop(name)


def cut_to(name, *lengths):

    def make(rng, annotation):
        annotation[name] = annotation[name][:lengths[rng.
                                                     integers(len(lengths))]]

    return make


def negative_flag(rng, annotation):
    annotation['keypoints'][2 + 3 * int(rng.integers(14))] = -1


BAD_COCO = dict(
    box=(nan_in('bbox'), 'bbox is not finite'),
    box_null=(set_to('bbox', [None, 0, 9, 9], [4, 4, None, 9]), 'cannot'),
    no_box=(without('bbox'), 'cannot be read: KeyError'),
    box_short=(cut_to('bbox', 0, 3), 'cannot be read'),
    box_words=(set_to('bbox', 'none', ['a', 'b', 'c', 'd'], {}), 'cannot'),
    points=(nan_in('keypoints'), 'is not finite'),
    point_null=(lambda rng, annotation: annotation['keypoints'].__setitem__(
        int(rng.integers(42)), None), 'is not finite'),
    point_huge=(lambda rng, annotation: annotation['keypoints'].__setitem__(
        3, 10**int(rng.integers(39, 60))), 'keypoints is not finite'),
    too_few=(cut_to('keypoints', 9, 21, 39), 'keypoints instead of'),
    no_multiple=(cut_to('keypoints', 10, 20, 41), 'cannot be read'),
    too_many=(lambda rng, annotation: annotation['keypoints'].extend(
        [9, 9, 2] * int(rng.integers(1, 9))), 'keypoints instead of'),
    nested=(set_to('keypoints', [[1, 2], [3]], 'abc', 7), 'cannot be read'),
    negative=(negative_flag, 'is below 0'),
    area=(nan_in('area'), 'area is not finite'),
    area_negative=(set_to('area', -1, -1e9), 'area is below 0'))
LEFT_OUT_COCO = dict(
    crowd=(set_to('iscrowd', 1, True), None),
    no_points=(lambda rng, annotation: annotation.update(
        num_keypoints=0, keypoints=[0] * len(annotation['keypoints'])), None),
    no_point_list=(without('keypoints'), None),
    empty_points=(cut_to('keypoints', 0), None),
    outside=(set_to('bbox', [WIDTH + 9, 4, 9, 9], [4, -90, 20, 20],
                    [1e9, 1e9, 9, 9]), None),
    no_area=(set_to('bbox', [9, 9, 0, 9], [9, 9, 9, 0], [9, 9, -5, 9]), None))
BAD_MPII = dict(
    center=(nan_in('center'), 'is not finite'),
    scale=(set_to('scale', math.nan, math.inf, None), 'is not finite'),
    joints=(nan_in('joints'), 'keypoints is not finite'),
    too_few=(cut_to('joints', 1, 15), 'keypoints instead of 16'),
    flags=(nan_in('joints_vis'), 'keypoints_visible is not finite'),
    flags_null=(set_to('joints_vis', [None] * 16,
                       ['a'] * 16), 'visible is no'),
    flags_short=(cut_to('joints_vis', 0,
                        15), 'keypoints_visible instead of 16'))


def changed(kind, folder, faults):
    """Write annotations with each fault; what they are, by picture."""
    rng = np.random.default_rng(0)
    contents = [what for what in [*faults, *('fine', ) * 3] for _ in SEEDS]
    words = dict(zip(write_sound(kind, folder, len(contents)), contents))
    with edited(folder / 'data.json') as data:
        annotations = data if kind == 'mpii' else data['annotations']
        for what, annotation in zip(contents, annotations):
            if what in faults:
                faults[what][0](rng, annotation)
    return data, annotations, words


@pytest.mark.promise('dirty-data')
@pytest.mark.parametrize('kind', CONFIGS)
def test_bad_annotations(kind, build_dataset, tmp_path, logged):
    bad = BAD_MPII if kind == 'mpii' else BAD_COCO
    left_out = {} if kind == 'mpii' else LEFT_OUT_COCO
    faults = dict(bad, **left_out)
    data, annotations, words = changed(kind, tmp_path, faults)

    dataset = build_dataset(kind, tmp_path, on_bad='skip')
    kept = [
        os.path.basename(dataset.get_data_info(i)['img_path'])
        for i in range(len(dataset))
    ]
    assert kept == [name for name in words if words[name] == 'fine']
    for index in range(len(dataset)):
        assert_sound(dataset[index])
    listed = {
        os.path.basename(record['image']): record['reason']
        for record in dataset.skipped
    }
    assert set(listed) == {name for name, what in words.items() if what in bad}
    for name, reason in listed.items():
        assert faults[words[name]][1] in reason, (words[name], reason)
    if left_out:
        counts = next(text for text in logged
                      if f'{3 * len(SEEDS)} people' in text)
        assert f'{4 * len(SEEDS)} crowds, people without key points' in counts

    # One fault and a good one: it stops, or the good one is left. In a test
    # 'skip' stops too, since the metric needs the annotations.
    good = annotations[-1]
    for index, (name, what) in enumerate(words.items()):
        if what == 'fine' or index % len(SEEDS) > 1:
            continue
        options = dict(split='val', on_bad='skip') if index % 2 else {}
        if kind == 'mpii':
            small = [annotations[index], good]
        else:
            small = dict(data, annotations=[annotations[index], good])
        (tmp_path / 'data.json').write_text(json.dumps(small))
        if what in left_out:
            assert len(build_dataset(kind, tmp_path, **options)) == 1
            continue
        with pytest.raises(BadDataError) as error:
            build_dataset(kind, tmp_path, **options)
        message = str(error.value)
        assert f'/{name}: ' in message and 'data.json' in message
        assert ("on_bad='skip'" in message) is not bool(options)


@pytest.mark.promise('dirty-data')
def test_ids_used_twice(build_dataset, tmp_path):
    """xtcocotools keeps the last one of an id and uses it for all."""

    def loaded(change, **options):
        write_sound('coco', tmp_path, 6)
        with edited(tmp_path / 'data.json') as data:
            change(data)
        return build_dataset('coco', tmp_path, **options)

    def twice_in_two_images(data):
        data['annotations'][1]['id'] = data['annotations'][4]['id']

    def twice_in_one_image(data):
        data['annotations'][1].update(
            id=data['annotations'][4]['id'],
            image_id=data['annotations'][4]['image_id'])

    def one_image_id_for_two(data):
        data['images'][3]['id'] = data['images'][5]['id']

    for change, gone, reason in ((twice_in_two_images, {2, 5},
                                  'used more than once'),
                                 (twice_in_one_image, {2, 5},
                                  'used more than once'),
                                 (one_image_id_for_two, {4, 6},
                                  'image id 6 has several files')):
        with pytest.raises(BadDataError, match=reason):
            loaded(change)
        dataset = loaded(change, on_bad='skip')
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        assert {info['img_id'] for info in infos} == set(range(1, 7)) - gone
        assert len(infos) == 6 - len(gone)
        for info in infos:
            assert info['id'] == info['img_id']
            assert info['img_path'].endswith(f'/{info["img_id"]}.jpg')
        assert all(reason in one['reason'] for one in dataset.skipped)


@pytest.mark.promise('dirty-data')
@pytest.mark.parametrize('kind', ['coco', 'mpii'])
@pytest.mark.parametrize('content', [
    '', '{"images": [', '[]', '7', 'null', '{"images": {}}',
    '{"images": [{}], "annotations": []}',
    '{"images": [], "annotations": [{"id": 1}]}', '[{"image": "1.jpg"}]',
    '[' * 99999, '{"images": [], "annotations": []}'
])
def test_no_annotation_file(kind, content, build_dataset, tmp_path):
    annotate(kind, tmp_path, ['1.jpg'])
    (tmp_path / 'data.json').write_text(content)
    for on_bad in ('stop', 'skip'):
        with pytest.raises(BadDataError, match='data.json'):
            build_dataset(kind, tmp_path, on_bad=on_bad)


@pytest.mark.promise('dirty-data')
def test_boxes_of_a_detector(build_dataset, tmp_path):
    write_sound('coco', tmp_path, 1)
    boxes = [
        dict(image_id=1, category_id=1, bbox=box, score=score)
        for box, score in (([4, 4, 30, 30], .9), ([4, math.nan, 9, 9], .8),
                           ([4, 4, math.inf, 9], .8), ([4, 4, 9, 9], math.nan),
                           ([9, 9, 0, 0], .1), ([90, 90, 9, 9], .1))
    ]
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(boxes))
    options = dict(split='val', bbox_file=str(path))
    with pytest.raises(
            BadDataError, match='boxes.json: annotation 1 .*bbox is not'):
        build_dataset('coco', tmp_path, **options)
    dataset = build_dataset('coco', tmp_path, on_bad='skip', **options)
    assert [one['annotation'] for one in dataset.skipped] == [1, 2, 3]
    # Boxes without area or outside are MMPose's to judge.
    assert len(dataset) == 3
    for index in range(3):
        assert_sound(dataset[index], targets=False)
    boxes[0]['image_id'] = 99
    path.write_text(json.dumps(boxes))
    with pytest.raises(BadDataError, match='boxes.json.*99'):
        build_dataset('coco', tmp_path, on_bad='skip', **options)
    # Nor may the metric be given broken annotations.
    with edited(tmp_path / 'data.json') as data:
        data['annotations'][0]['bbox'][0] = math.nan
    with pytest.raises(BadDataError, match='the metric needs it'):
        build_dataset('coco', tmp_path, on_bad='skip', **options)


@pytest.mark.parametrize('category', [0, 1, 7])
def test_boxes_get_the_category_of_the_annotations(build_dataset, tmp_path,
                                                   category):
    """The metric compares within categories."""
    write_sound('coco', tmp_path, 1)
    with edited(tmp_path / 'data.json') as data:
        data['categories'][0]['id'] = category
        data['annotations'][0]['category_id'] = category
    path = tmp_path / 'boxes.json'
    path.write_text(
        json.dumps(
            [dict(image_id=1, category_id=1, bbox=[4, 4, 30, 30], score=.9)]))
    for bbox_file in (None, str(path)):
        dataset = build_dataset(
            'coco', tmp_path, split='val', bbox_file=bbox_file)
        assert dataset[0]['data_samples'].category_id == category


@pytest.mark.parametrize('split, warnings', [('train', 0), ('val', 1)])
def test_people_without_area(build_dataset, tmp_path, logged, split, warnings):
    write_sound('coco', tmp_path, 2)
    build_dataset('coco', tmp_path, split=split)
    assert not [text for text in logged if 'people have no area' in text]
    with edited(tmp_path / 'data.json') as data:
        del data['annotations'][1]['area']
    assert len(build_dataset('coco', tmp_path, split=split)) == 2
    told = [text for text in logged if 'people have no area' in text]
    assert len(told) == warnings


def image_ids(kind):

    def change(data):
        for image, annotation in zip(data['images'], data['annotations']):
            image['id'] = annotation['image_id'] = kind(image['id'])

    return change


def annotation_ids(kind):

    def change(data):
        for annotation in data['annotations']:
            annotation['id'] = kind(annotation['id'])

    return change


def evaluated(build_dataset, folder):
    """AP of predictions that are right, as MMPose measures it."""
    dataset = build_dataset('coco', folder, 'val')
    metric = METRICS.build(
        dict(type='CocoMetric', ann_file=str(folder / 'data.json')))
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        points = sample.gt_instances.keypoints
        sample.pred_instances = InstanceData(
            keypoints=points,
            keypoint_scores=np.ones(points.shape[:2], np.float32))
        metric.process([], [sample.to_dict()])
    return metric.evaluate(len(dataset))['coco/AP']


@pytest.mark.parametrize('change, match', [
    (image_ids(str), "the image id '1' is not a whole number. Number"),
    (image_ids('img-{}'.format), "the image id 'img-1' is not"),
    (image_ids(float), 'the image id 1.0 is not'),
    (annotation_ids('{}b'.format), "the annotation id '1b' is not a whole"),
    (annotation_ids(lambda number: number + .5), 'the annotation id 1.5 is'),
    (annotation_ids(lambda number: -number), 'the annotation id -1 is not'),
    (lambda data: data.pop('categories'), 'no categories, which the metric'),
])
def test_ids_that_cannot_be_measured_are_refused(build_dataset, tmp_path,
                                                 change, match):
    """By file and id, whatever is to be done with what is bad."""
    write_sound('coco', tmp_path, 3)
    with edited(tmp_path / 'data.json') as data:
        change(data)
    for on_bad in ('stop', 'skip'):
        with pytest.raises(BadDataError, match='data.json: .*' + match):
            build_dataset('coco', tmp_path, 'val', on_bad=on_bad)


@pytest.mark.parametrize('change', [
    annotation_ids(str),
    annotation_ids(lambda number: number - 1),
    annotation_ids(lambda number: 10**12 + number),
    image_ids(lambda number: number - 1),
    image_ids(lambda number: -number),
    image_ids(lambda number: 20240101123000123456 + number),
    lambda data: data['categories'][0].update(name='Person', id=1),
])
def test_ids_that_can_be_measured(build_dataset, tmp_path, change):
    write_sound('coco', tmp_path, 3)
    with edited(tmp_path / 'data.json') as data:
        change(data)
    assert evaluated(build_dataset, tmp_path) == pytest.approx(1)


def test_ids_and_categories_that_training_does_without(build_dataset,
                                                       tmp_path):
    write_sound('coco', tmp_path, 2)
    with edited(tmp_path / 'data.json') as data:
        annotation_ids('{}b'.format)(data)
        del data['categories'], data['annotations'][0]['category_id']
    try:
        dataset = build_dataset('coco', tmp_path)
    except BadDataError as error:  # with xtcocotools
        assert 'data.json: it has no categories' in str(error)
        return
    assert len(dataset) == 2
    assert_sound(dataset[0])


@pytest.mark.parametrize('name', ['.\\{}', 'images\\{}', './images/{}'])
def test_names_of_labelling_tools(build_dataset, tmp_path, name):
    names = write_sound('coco', tmp_path, 2)
    (tmp_path / 'images').mkdir()
    for one in names:
        shutil.copy(tmp_path / one, tmp_path / 'images')
    with edited(tmp_path / 'data.json') as data:
        for image in data['images']:
            image['file_name'] = name.format(image['file_name'])
    assert evaluated(build_dataset, tmp_path) == pytest.approx(1)


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_encodings_of_windows(build_dataset, tmp_path, encoding):
    write_sound('coco', tmp_path, 2)
    path = tmp_path / 'data.json'
    path.write_text(path.read_text(), encoding=encoding)
    assert evaluated(build_dataset, tmp_path) == pytest.approx(1)
    boxes = [dict(image_id=1, category_id=1, bbox=[4, 4, 30, 30], score=.9)]
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(boxes), encoding=encoding)
    assert len(
        build_dataset('coco', tmp_path, split='val', bbox_file=str(path))) == 1


def test_json_is_written_as_by_mmengine(tmp_path):
    data = dict(name='Größe', value=np.float32(.5), values=np.arange(3))
    text = '{"name": "Gr\\u00f6\\u00dfe", "value": 0.5, "values": [0, 1, 2]}'
    path = tmp_path / 'a.json'
    dump(data, str(path))
    assert path.read_text() == text
    with open(path, 'w') as file:
        dump(data, file, file_format='json')
    assert path.read_text() == text == dump(data, file_format='json')
    assert load(str(path)) == dict(data, values=[0, 1, 2])
    with open(path) as file:
        assert load(file, file_format='json')['name'] == 'Größe'


def test_annotations_of_no_image_are_told(build_dataset, tmp_path, logged):
    write_sound('coco', tmp_path, 3)
    with edited(tmp_path / 'data.json') as data:
        del data['images'][2]
    assert len(build_dataset('coco', tmp_path)) == 2
    assert [text for text in logged if '1 annotations are of images' in text]


def predicted(model, sample):
    """A prediction that is right, or the middle of the box where no picture
    is."""
    center, scale = crop(sample)
    points = sample.gt_instances.keypoints
    if 'skipped' in sample:
        points = np.broadcast_to(center, points.shape)
    instances = InstanceData(
        keypoints=(points - center + scale / 2) / scale * sample.input_size,
        keypoint_scores=np.ones(points.shape[:2], np.float32))
    return model.add_pred_to_datasample([instances], None, [sample])[0]


@pytest.mark.promise('missed-people')
@pytest.mark.parametrize('kind, metrics, full', [
    ('coco', ['coco/AP', 'coco/AR'], 1),
    ('lsp', ['coco/AP', 'coco/AR', 'lsp/PCK'], 1),
    ('mpii', ['PCK'], 100),
])
def test_missed_people_lower_the_metric(kind, metrics, full, build,
                                        build_dataset, load_config, tmp_path):
    """AP is that of a result file without them; PCK counts them as wrong."""
    names = write_sound(kind, tmp_path, 10)
    model = build(CONFIGS[kind])
    evaluators = load_config(CONFIGS[kind]).val_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]

    def evaluate(without_skipped=False):
        dataset = build_dataset(kind, tmp_path, 'val', on_bad='skip')
        samples = [
            dataset[index]['data_samples'] for index in range(len(names))
        ]
        values = {}
        for evaluator in evaluators:
            if 'ann_file' in evaluator:
                evaluator.ann_file = str(tmp_path / 'data.json')
            metric = METRICS.build(evaluator)
            metric.dataset_meta = dataset.metainfo
            for sample in samples:
                if not (without_skipped and 'skipped' in sample):
                    metric.process([], [predicted(model, sample).to_dict()])
            values.update(metric.evaluate(len(metric.results)))
        return {name: values[name] for name in metrics}

    assert evaluate() == pytest.approx(dict.fromkeys(metrics, full))
    for name in names[:3]:
        (tmp_path / name).write_bytes(b'')
    found, without = evaluate(), evaluate(without_skipped=True)
    for name in metrics:
        if 'PCK' in name:
            assert found[name] == pytest.approx(0.7 * full)
            assert without[name] == pytest.approx(full)
        else:
            assert found[name] == pytest.approx(without[name])
            assert 0.5 < found[name] < 0.75


TRAIN_FILE = 'annotations/person_keypoints_train2017.json'


@pytest.fixture
def dirty_run(rendered_run, rendered_root, tmp_path):
    """Config of a training of three iterations with broken pictures."""
    root = tmp_path / 'data'
    shutil.copytree(str(rendered_root), str(root))
    for name in ('train2017/000000000002.jpg', 'val2017/000000000003.jpg'):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:len(content) // 2])
    (root / 'train2017/000000000005.jpg').unlink()
    with edited(root / TRAIN_FILE) as data:
        data['annotations'][6]['keypoints'][0] = math.nan
    for split in ('train', 'val', 'test'):
        rendered_run[f'{split}_dataloader'].dataset.data_root = str(root)
    rendered_run.train_dataloader.num_workers = 2  # processes
    return rendered_run


@pytest.mark.e2e
@pytest.mark.promise('dirty-data')
def test_training_goes_on_without_the_broken(dirty_run):
    for split in ('train', 'val', 'test'):
        dirty_run[f'{split}_dataloader'].dataset.on_bad = 'skip'
    runner = Runner.from_cfg(dirty_run)
    runner.train()
    assert runner.iter == 3
    for weight in runner.model.parameters():
        assert weight.isfinite().all()
    folder = Path(runner.log_dir)
    reasons = {
        os.path.basename(one['image']): one['reason']
        for one in json.loads((folder / 'skipped_train.json').read_text())
    }
    assert 'keypoints is not finite' in reasons.pop('000000000007.jpg')
    assert set(reasons) == {'000000000002.jpg', '000000000005.jpg'}
    record, = json.loads((folder / 'skipped_val.json').read_text())
    assert record['image'].endswith('val2017/000000000003.jpg')
    assert record['annotation'] == 3
    log = (folder / f'{runner.timestamp}.log').read_text()
    assert 'annotations skipped in val: 1, see' in log


@pytest.mark.e2e
@pytest.mark.promise('dirty-data')
def test_training_stops_at_the_broken(dirty_run):
    # After an error, torch waits 5 s for each.
    dirty_run.train_dataloader.num_workers = 1
    with pytest.raises(BadDataError, match='annotation 7 of .*007.jpg'):
        Runner.from_cfg(dirty_run).train()
    root = Path(dirty_run.train_dataloader.dataset.data_root)
    with edited(root / TRAIN_FILE) as data:
        del data['annotations'][6]
    with pytest.raises(BadDataError, match='annotation [25] of .*00[25].jpg'):
        Runner.from_cfg(dirty_run).train()
    assert not list(Path(dirty_run.work_dir).rglob('*.pth'))


def test_targets_that_are_not_finite_are_refused(build_dataset, tmp_path):
    """Whatever a transform in between does."""
    write_sound('lsp', tmp_path, 2)
    for on_bad in ('stop', 'skip'):
        dataset = build_dataset('lsp', tmp_path, on_bad=on_bad)
        assert_sound(dataset[0])
        pack = dataset.pipeline.transforms[-1]
        for key in ('heatmaps', 'keypoint_weights'):

            def spoilt(results, key=key):
                results[key].flat[3] = math.nan
                return pack(results)

            dataset.pipeline.transforms[-1] = spoilt
            if on_bad == 'skip':
                assert dataset.prepare_data(0) is None
                continue
            with pytest.raises(BadDataError, match='pipeline, .* not finite'):
                dataset[0]


def test_options(build_dataset, tmp_path):
    annotate('coco', tmp_path, ['1.jpg'])
    with pytest.raises(ValueError, match="on_bad='ignore'"):
        build_dataset('coco', tmp_path, on_bad='ignore')
    # Bottom-up networks need the masks of those who are left out here.
    with pytest.raises(ValueError, match="top-down .*data_mode='bottomup'"):
        build_dataset('coco', tmp_path, data_mode='bottomup')


@pytest.fixture
def turned(tmp_path):
    """A picture that is 20x40 and stored lying."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / 'a.jpg'
    Image.new('RGB', (40, 20)).save(path, exif=exif)
    return path


def test_orientation(turned):
    assert read_size(str(turned)) == (20, 40)
    sample = dict(img_path=str(turned), img_shape=(20, 40))
    with pytest.raises(BadDataError, match='color_ignore_orientation'):
        LoadCheckedImage()(dict(sample))
    load = LoadCheckedImage(color_type='color_ignore_orientation')
    assert load(dict(sample))['img'].shape == (20, 40, 3)


def test_cut_jpegs_are_refused_whatever_decodes_them(turned):
    turned.write_bytes(turned.read_bytes()[:-2])
    with pytest.raises(BadDataError, match='a JPEG without an end'):
        LoadCheckedImage()(dict(img_path=str(turned)))
