"""joints.mat to COCO-style annotations."""
import json
import os

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from xtcocotools.coco import COCO

from lgm_pose_plugin.datasets.converters.lsp import (convert, find_fault,
                                                     load_joints,
                                                     split_records)
from lgm_pose_plugin.datasets.transforms.loading import read_size
from lgm_pose_plugin.evaluation.metrics.lsp_pck import _DIAGONALS

SIZE = (160, 120)


@pytest.fixture(scope='module')
def archive(rendered_lsp, tmp_path_factory):
    """Rendered people, not to be changed."""
    return rendered_lsp(tmp_path_factory.mktemp('lsp') / 'archive', 6)


@pytest.fixture
def source(archive, tmp_path):
    """A copy of the archive's joints.mat beside a link to its images."""
    folder = tmp_path / 'source'
    folder.mkdir()
    (folder / 'joints.mat').write_bytes((archive / 'joints.mat').read_bytes())
    (folder / 'images').symlink_to(archive / 'images')
    return folder


def change_joints(source, change):
    joints = loadmat(str(source / 'joints.mat'))['joints']
    change(joints)
    savemat(str(source / 'joints.mat'), dict(joints=joints))


def run(source, out, val_from=4):
    return convert(str(source), str(out), val_from)


def read(out, name):
    return json.loads((out / 'annotations' / f'{name}.json').read_text())


@pytest.mark.promise('convert-lsp')
def test_annotations(source, tmp_path):
    out = tmp_path / 'out'
    files = run(source, out)
    assert set(files) == {
        f'lspet_{name}.json'
        for name in ('train', 'val', 'removed')
    } == set(os.listdir(out / 'annotations'))
    joints = loadmat(str(source / 'joints.mat'))['joints']
    for name, numbers in (('lspet_train', (1, 2, 3)), ('lspet_val', (4, 5,
                                                                     6))):
        assert read(out, name) == files[f'{name}.json']
        coco = COCO(str(out / 'annotations' / f'{name}.json'))
        assert sorted(coco.getImgIds()) == list(numbers)
        for number in numbers:
            image, = coco.loadImgs(number)
            assert image['file_name'] == f'im{number:05d}.jpg'
            assert (image['width'], image['height']) == SIZE
            assert (out / 'images' / image['file_name']).is_file()
            annotation, = coco.loadAnns(coco.getAnnIds(imgIds=number))
            triplets = np.reshape(annotation['keypoints'], (14, 3))
            labelled = joints[:, 2, number - 1] == 1
            assert np.array_equal(triplets[:, 2], 2 * labelled)
            assert np.allclose(
                triplets[labelled, :2],
                joints[labelled, :2, number - 1],
                atol=.005)
            assert not triplets[~labelled].any()
            assert annotation['num_keypoints'] == labelled.sum()
    assert files['lspet_val.json']['categories'][0]['keypoints'][13] == (
        'head_top')


@pytest.mark.promise('convert-lsp')
def test_box(source, tmp_path):
    """The extent and a tenth of its longer side, inside the image."""

    def change(joints):
        joints[:, :2, 0] = [(80, 60)]
        joints[0, :2, 0] = (60, 100)
        joints[1, :2, 0] = (5, 60)
        joints[:2, 2, 0] = (1, 0)  # who is not labelled does not count
        joints[2:, 2, 0] = 1
        joints[13, :2, 0] = (85, 20)

    change_joints(source, change)
    run(source, tmp_path / 'out')
    annotation = read(tmp_path / 'out', 'lspet_train')['annotations'][0]
    # x 60 to 85, y 20 to 100, margin 8
    assert annotation['bbox'] == [52, 12, 41, 96]
    assert annotation['area'] == pytest.approx(.53 * 41 * 96)

    change_joints(source, lambda joints: joints.__setitem__(
        (1, 2, 0), 1))  # x 5
    run(source, tmp_path / 'out')
    annotation = read(tmp_path / 'out', 'lspet_train')['annotations'][0]
    assert annotation['bbox'] == [0, 12, 93, 96]


def test_lsp_marks_hidden_joints(rendered_lsp, tmp_path):
    """3x14xN, and the third row is 1 for a hidden joint, not for a shown."""
    source = rendered_lsp(tmp_path, 3, 'lsp')
    joints = loadmat(str(source / 'joints.mat'))['joints']
    assert joints.shape == (3, 14, 3) and 0 < joints[2].mean() < .5
    run(source, source, val_from=2)
    for split, numbers in (('train', [1]), ('val', [2, 3])):
        content = read(source, f'lsp_{split}')
        for image, annotation, number in zip(content['images'],
                                             content['annotations'], numbers):
            assert image['file_name'] == f'im{number:04d}.jpg'
            triplets = np.reshape(annotation['keypoints'], (14, 3))
            assert np.array_equal(triplets[:, 2] == 1, joints[2, :,
                                                              number - 1] == 1)
            assert np.allclose(
                triplets[:, :2], joints[:2, :, number - 1].T, atol=.005)
            assert annotation['num_keypoints'] == 14


@pytest.mark.promise('convert-lsp')
@pytest.mark.parametrize('joint, reason', [
    ((np.nan, 20), 'left_hip at (nan, 20) is far outside of the image of '
     '160x120'),
    ((-17, 20), 'left_hip at (-17, 20) is far outside'),
    ((20, 137), 'left_hip at (20, 137) is far outside'),
])
def test_joints_outside(source, tmp_path, joint, reason):

    def change(joints):
        joints[:] = 1
        joints[3, :2, 4] = joint
        joints[3, :2, 0] = (-15, 135)  # a little outside may be right
        joints[3, :, 1] = (-500, -500, 0)  # not labelled

    change_joints(source, change)
    files = run(source, tmp_path / 'out')
    removed, = read(tmp_path / 'out', 'lspet_removed')['removed']
    assert removed['file_name'] == 'im00005.jpg'
    assert removed['split'] == 'val' and removed['reason'].startswith(reason)
    assert [image['id']
            for image in files['lspet_train.json']['images']] == [1, 2, 3]
    val = files['lspet_val.json']
    assert [image['id'] for image in val['images']] == [4, 6]
    assert [one['image_id'] for one in val['annotations']] == [4, 6]


@pytest.mark.promise('convert-lsp')
def test_few_joints(source, tmp_path):

    def change(joints):
        joints[:] = 1
        joints[7:, 2, 1] = 0
        joints[8:, 2, 2] = 0

    change_joints(source, change)
    files = run(source, tmp_path / 'out')
    assert files['lspet_removed.json']['removed'] == [
        dict(
            file_name='im00002.jpg',
            split='train',
            reason='7 joints labelled, fewer than 8')
    ]


@pytest.mark.promise('convert-lsp')
@pytest.mark.parametrize('name, number, val_from, expected', [
    ('lspet', 7000, None, dict(train=(1, 6000), val=(6001, 7000))),
    ('lspet', 10000, None,
     dict(train=(1, 6000), val=(6001, 7000), extra=(7001, 10000))),
    ('lsp', 2000, None, dict(train=(1, 1000), val=(1001, 2000))),
    ('lspet', 10, 8, dict(train=(1, 7), val=(8, 10))),
    ('lspet', 10000, 9001, dict(train=(1, 9000), val=(9001, 10000))),
])  # yapf: disable
def test_splits(name, number, val_from, expected):
    splits = split_records(name, number, val_from)
    assert {key: (rng[0], rng[-1]) for key, rng in splits.items()} == expected


@pytest.mark.parametrize('val_from', [None, 1, 0, 7, 8])
def test_empty_splits(source, tmp_path, val_from):
    with pytest.raises(ValueError, match='--val-from.* from 2 to 6'):
        run(source, tmp_path / 'out', val_from)
    assert not (tmp_path / 'out').exists()


def test_in_place_and_again(archive, source, tmp_path):
    run(source, source)
    written = read(source, 'lspet_train')
    assert (source / 'images').resolve() == archive / 'images'
    (source / 'annotations/lspet_mine.json').write_text('{}')
    run(source, source, 3)
    assert len(read(source, 'lspet_train')['images']) == 2
    assert {path.stem
            for path in (source / 'annotations').iterdir()
            } == {'lspet_train', 'lspet_val', 'lspet_removed', 'lspet_mine'}
    run(source, source)
    assert read(source, 'lspet_train') == written


def _no_joints(source):
    (source / 'joints.mat').unlink()


def _no_images(source):
    (source / 'images').unlink()


def _more_records(source):
    savemat(str(source / 'joints.mat'), dict(joints=np.ones((14, 3, 8))))


def _text(source):
    (source / 'joints.mat').write_text('<html>404</html>')


def _other_variable(source):
    savemat(str(source / 'joints.mat'), dict(RELEASE=np.ones(3)))


def _other_shape(source):
    savemat(str(source / 'joints.mat'), dict(joints=np.ones((16, 3, 6))))


def _other_flags(source):
    change_joints(source, lambda joints: joints.__setitem__((0, 2, 0), 2))


@pytest.mark.parametrize('spoil, message', [
    (_no_joints, r'source/joints\.mat is missing; unpack'),
    (_no_images, r'source/images/im00001\.jpg cannot be read'),
    (_more_records,
     r'im00007\.jpg cannot be read as an image: .*No such file'),
    (_text, r'source/joints\.mat is not the joints\.mat of LSP or LSPET'),
    (_other_variable, r"is not the joints\.mat of LSP or LSPET: .*joints"),
    (_other_shape, r'is not the joints\.mat of LSP or LSPET: .*\(16, 3\)'),
    (_other_flags, r'visibility flags other than 0 and 1'),
])
def test_wrong_source(source, tmp_path, spoil, message):
    spoil(source)
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        run(source, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('length', [0, 300, 1500])
def test_broken_image(archive, tmp_path, length):
    path = tmp_path / 'im00001.jpg'
    path.write_bytes((archive / 'images' / path.name).read_bytes()[:length])
    with pytest.raises(ValueError, match=r'im00001\.jpg cannot be read'):
        read_size(str(path))


def test_other_images_in_out(source, tmp_path):
    out = tmp_path / 'out'
    (out / 'images').mkdir(parents=True)
    with pytest.raises(ValueError, match='out/images lacks images'):
        run(source, out)
    assert not (out / 'annotations').exists()


def test_out_is_a_file(source, tmp_path):
    (tmp_path / 'out').touch()
    with pytest.raises(OSError, match='out'):
        run(source, tmp_path / 'out')


def test_real_joints(lspet_root):
    """All unlabelled joints of a person have one place, outside the image."""
    name, joints, flags = load_joints(str(lspet_root / 'joints.mat'))
    assert name == 'lspet'
    assert joints.shape[1:] == (14, 2) and joints.shape[0] >= 7000
    assert set(np.unique(flags)) == {0, 2}
    assert (joints[flags > 0] > -2).all() and (joints[flags == 0] <= 0).all()
    assert .8 < (flags > 0).mean() < .95


@pytest.mark.promise('lspet-people')
def test_figures_of_the_readme(lspet_root):
    """People kept, removed, and without a torso, of the first 7,000."""
    _, joints, flags = load_joints(str(lspet_root / 'joints.mat'))
    figures = {}
    for split, numbers in (('train', range(1,
                                           6001)), ('val', range(6001, 7001))):
        kept = []
        for number in numbers:
            path = lspet_root / 'images' / f'im{number:05d}.jpg'
            with Image.open(path) as image:
                fault = find_fault(joints[number - 1], flags[number - 1],
                                   image.size)
            if fault is None:
                kept.append(number - 1)
            else:
                assert 'joints labelled, fewer than 8' in fault
        labelled = flags[kept] > 0
        torso = np.zeros(len(kept), bool)
        for shoulder, hip in _DIAGONALS:
            torso |= labelled[:, shoulder] & labelled[:, hip]
        figures[split] = len(kept), len(numbers) - len(kept), sum(~torso)
    assert figures['train'][:2] == (5899, 101)
    assert figures['val'] == (989, 11, 165)


def test_relative_paths(rendered_lsp, tmp_path, monkeypatch):
    rendered_lsp(tmp_path / 'source', 4)
    monkeypatch.chdir(tmp_path)
    convert('source', 'deep/out', 3)
    assert (tmp_path / 'deep/out/images/im00001.jpg').is_file()
