"""People of pictures and data sets, for checks and calibration."""
import cv2
import numpy as np
import pytest
import torch
from mmpose.apis import inference_topdown, init_model
from PIL import Image

from lgm_pose_plugin.datasets import samples

RENDERED = 'td-hm_lgm-pose_1xb4-2e_rendered-128x96'


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    (folder / 'notes.txt').write_text('no picture')
    rng = np.random.default_rng(0)
    for name in ('b.png', 'a.JPG'):
        image = rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / name), image)
    # A portrait: turned by 90 degrees when it is shown.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(str(folder / 'c.jpg'), exif=exif)
    return folder


def test_images_are_seen_as_inference_topdown_sees_them(load_config, pictures):
    cfg = load_config(RENDERED, model__test_cfg__flip_test=False)
    raw = samples.image_samples(cfg, [str(pictures)], 8)
    assert [one['img_path'][-5:] for one in raw] == ['a.JPG', 'b.png', 'c.jpg']
    assert [one['bbox'].tolist() for one in raw] == [[[0, 0, 30, 40]],
                                                     [[0, 0, 30, 40]],
                                                     [[0, 0, 40, 30]]]
    assert len(samples.image_samples(cfg, [str(pictures)], 1)) == 1
    model = init_model(cfg, device='cpu')
    batch, seen = samples.pipeline_batch(cfg, raw), []
    inputs = model.data_preprocessor(batch, False)['inputs']
    assert inputs.shape == (3, 3, 128, 96)
    model.backbone.register_forward_pre_hook(
        lambda module, args: seen.append(args[0]))
    for one in raw:
        # Of a path it would take the size before turning.
        inference_topdown(model, cv2.imread(one['img_path']))
    torch.testing.assert_close(inputs, torch.cat(seen))


def test_images_that_are_none(load_config, pictures, tmp_path):
    cfg = load_config(RENDERED)
    with pytest.raises(FileNotFoundError, match='absent.png'):
        samples.image_samples(cfg, ['absent.png'], 1)
    with pytest.raises(
            ValueError, match='notes.txt cannot be read as an image'):
        samples.image_samples(cfg, [str(pictures / 'notes.txt')], 1)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='no pictures in .*empty.*png'):
        samples.image_samples(cfg, [str(tmp_path / 'empty')], 1)


def test_dataset(load_config, rendered_root):
    cfg = load_config(RENDERED)
    with pytest.raises(ValueError, match='cannot be read.*data_root'):
        samples.find_samples(cfg, (), True, 1)
    for split in ('train', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(rendered_root)
    first = samples.find_samples(cfg, (), True, 3)
    assert [one['id'] for one in first] == [1, 2, 3]
    # To calibrate on, people from all over the training data.
    people = samples.open_dataset(cfg, 'train')
    spread = samples.find_samples(cfg, (), True, 3, 'train')
    assert [one['id'] for one in spread] == [
        people.get_data_info(i)['id'] for i in (0, (len(people) - 1) // 2, -1)
    ]
    assert samples.find_samples(cfg, (), False, 3) == []


@pytest.mark.parametrize('wrap, times', [
    (lambda one: dict(type='RepeatDataset', times=2, dataset=one), 2),
    (lambda one: dict(type='ConcatDataset', datasets=[one, one]), 2),
    (lambda one: dict(
        type='RepeatDataset',
        times=3,
        dataset=dict(
            type='CombinedDataset',
            metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
            datasets=[dict(one, pipeline=[])],
            pipeline=one['pipeline'])), 3),
])
def test_wrapped_dataset(load_config, rendered_root, wrap, times):
    cfg = load_config(RENDERED)
    people = cfg.train_dataloader.dataset
    people.data_root = str(rendered_root)
    alone = samples.open_dataset(cfg, 'train')
    cfg.train_dataloader.dataset = wrap(people.to_dict())
    dataset = samples.open_dataset(cfg, 'train')
    assert len(dataset) == times * len(alone)
    first, wanted = dataset.get_data_info(0), alone.get_data_info(0)
    assert first.keys() >= {'img_path', 'bbox'}
    assert first['bbox'].tolist() == wanted['bbox'].tolist()
    # What else goes wrong in wrappers is one line, too.
    cfg.train_dataloader.dataset = wrap(dict(people, absent=1))
    with pytest.raises(ValueError, match='train data set .* cannot be read'):
        samples.open_dataset(cfg, 'train')
