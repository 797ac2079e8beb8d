"""Batches in a few large tensors."""
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmpose.structures import MultilevelPixelData, PoseDataSample

from lgm_pose_plugin.datasets import stack_collate


def make_item(index, labels=('x', 'y'), size=8):
    sample = PoseDataSample(metainfo=dict(img_path=f'{index}.jpg'))
    sample.gt_fields = PixelData(heatmaps=torch.rand(17, 6, 4))
    sample.gt_instance_labels = InstanceData(
        **{label: torch.rand(1, 17)
           for label in labels})
    return dict(
        inputs=torch.randint(255, (3, size, 6)).byte(), data_samples=sample)


def test_samples_are_those_of_the_list():
    items = [make_item(index) for index in range(3)]
    batch, expected = stack_collate(items), pseudo_collate(items)
    assert batch['inputs'].equal(torch.stack(expected['inputs']))
    for samples in (batch['data_samples'], batch['data_samples'].to('cpu')):
        assert len(samples) == 3
        assert samples[1].img_path == '1.jpg'
        for one, other in zip(samples, expected['data_samples']):
            assert one.metainfo == other.metainfo
            assert one.gt_fields.heatmaps.equal(other.gt_fields.heatmaps)
            for label in 'xy':
                assert one.gt_instance_labels[label].equal(
                    other.gt_instance_labels[label])


@pytest.mark.parametrize('case', ['sizes', 'labels', 'levels'])
def test_what_does_not_fit_stays_a_list(case):
    other = make_item(
        1,
        labels='x' if case == 'labels' else 'xy',
        size=9 if case == 'sizes' else 8)
    if case == 'levels':
        other['data_samples'].gt_fields = MultilevelPixelData(
            heatmaps=[torch.rand(17, 6, 4)] * 2)
    items = [make_item(0), other]
    batch = stack_collate(items)
    assert [one is two['inputs']
            for one, two in zip(batch['inputs'], items)] == [True, True]
    assert [
        one is two['data_samples']
        for one, two in zip(batch['data_samples'], items)
    ] == [True, True]


@pytest.mark.e2e
def test_trains_the_same_weights(rendered_run, tmp_path):
    weights = []
    for number, name in enumerate(('pseudo_collate', 'stack_collate')):
        cfg = rendered_run.copy()
        cfg.work_dir = str(tmp_path / name)
        cfg.experiment_name = f'{cfg.get("experiment_name")}_{number}'
        cfg.train_dataloader.update(num_workers=1, collate_fn=dict(type=name))
        runner = Runner.from_cfg(cfg)
        runner.train()
        weights.append(runner.model.state_dict())
    first, second = weights
    assert all(first[key].equal(second[key]) for key in first)
