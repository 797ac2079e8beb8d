"""Batches that reach the training in a few large tensors."""
from typing import Any, Dict, Iterator, List, Sequence

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmpose.structures import PoseDataSample

# What heads read of a sample in training, and its class.
TARGETS = dict(gt_fields=PixelData, gt_instance_labels=InstanceData)


class StackedSamples(BaseDataElement):
    """The samples of a batch, their targets as stacked tensors.

    It is read like a list of :class:`PoseDataSample`, whose tensors are views.
    :meth:`to`, which MMEngine's data preprocessors call, gives such a list.
    """

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.metas)

    def __getitem__(self, index: int) -> PoseDataSample:
        """Give a sample.

        Args:
            index (int): Its place in the batch.

        Returns:
            PoseDataSample: The sample.
        """
        sample = PoseDataSample()
        for name, value in self.metas[index].items():
            sample.set_field(value, name, field_type='metainfo')
        for name, kind in TARGETS.items():
            target = kind()
            for key, stack in self.get(name).items():
                target.set_field(stack[index], key)
            setattr(sample, name, target)
        return sample

    def __iter__(self) -> Iterator[PoseDataSample]:
        """Give the samples one by one."""
        return (self[index] for index in range(len(self)))

    def to(self, *args: Any, **kwargs: Any) -> List[PoseDataSample]:
        """Move the tensors, then take the batch apart.

        Args:
            *args: As of :meth:`torch.Tensor.to`.
            **kwargs: As of :meth:`torch.Tensor.to`.

        Returns:
            list[PoseDataSample]: The samples.
        """
        return list(super().to(*args, **kwargs))


@FUNCTIONS.register_module()
def stack_collate(batch: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Stack images and targets in the worker that makes the batch.

    MMEngine's ``pseudo_collate`` hands each tensor of each sample to the
    training process, and from there to the GPU. For a light network that takes
    longer than its steps. Use this one by
    ``train_dataloader=dict(collate_fn=dict(type='stack_collate'))``.

    Metainfo, ``gt_fields`` and ``gt_instance_labels`` are kept. Heads of
    top-down networks read no more in training.

    Args:
        batch (Sequence[dict]): ``inputs`` and ``data_samples``, as
            :class:`PackPoseInputs` gives them.

    Returns:
        dict: ``inputs`` (Tensor of shape (N, C, H, W)) and ``data_samples``
        (:class:`StackedSamples`). If the samples' tensors differ in names or
        shapes, what ``pseudo_collate`` gives.
    """
    samples = [item['data_samples'] for item in batch]
    stacked = StackedSamples()
    try:
        for name, kind in TARGETS.items():
            targets = [sample.get(name, kind()) for sample in samples]
            keys = targets[0].keys()
            if any(target.keys() != keys for target in targets):
                return pseudo_collate(batch)
            stacks = {
                key: torch.stack([target.get(key) for target in targets])
                for key in keys
            }
            stacked.set_data({name: BaseDataElement(**stacks)})
        inputs = torch.stack([item['inputs'] for item in batch])
    except (RuntimeError, TypeError):  # other shapes; no tensors
        return pseudo_collate(batch)
    stacked.metas = [dict(sample.metainfo_items()) for sample in samples]
    return dict(inputs=inputs, data_samples=stacked)
