"""An end to trainings whose loss is not a number."""
import os.path as osp
from typing import Any, Dict

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS
from torch import Tensor

from lgm_pose_plugin.datasets import target_tensors
from lgm_pose_plugin.utils.files import write_json

# With loss scaling, which starts too high and is halved at each of them.
MAX_LEFT_OUT = 20


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stop when the loss is NaN or infinite, and write down the batch.

    All ranks stop. Each rank with such a loss writes
    ``invalid_loss_rank0.json`` (with its number) beside the log. The file has
    the iteration, the logged losses, and for each sample of the batch
    ``image``, ``image_id``, ``annotation`` and whether inputs and targets are
    finite.

    MMEngine computes the loss and makes the optimizer's step at once, so the
    weights are broken when this hook sees the loss. No checkpoint is written
    if a weight is not finite, at any time.

    Loss scaling (``AmpOptimWrapper``, by ``--amp``) leaves such steps out, and
    the weights stay as they are. So up to 20 steps in a row may have such a
    loss.

    MMDetection's ``CheckInvalidLossHook`` looks at every 50th iteration, on
    one rank, and does not name the batch.
    """

    def __init__(self):
        self._left_out = 0  # steps in a row

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: Dict[str, Any],
                         outputs: Dict[str, Tensor]) -> None:
        """Look at the loss.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Number of the step in the epoch, from 0.
            data_batch (dict): ``inputs`` and ``data_samples``.
            outputs (dict[str, Tensor]): The losses; ``loss`` is their sum.

        Raises:
            FloatingPointError: If it is not finite on any rank, with loss
                scaling for more than 20 iterations in a row.
        """
        # The logger needs the loss on the CPU in every iteration anyway.
        valid = bool(outputs['loss'].isfinite().all())
        stop = torch.tensor(float(not valid), device=outputs['loss'].device)
        all_reduce(stop, 'max')
        if not stop:
            self._left_out = 0
            return
        consequence = 'It has broken the weights. Go'
        if hasattr(runner.optim_wrapper, 'loss_scaler'):
            self._left_out += 1
            if self._left_out <= MAX_LEFT_OUT:
                return
            consequence = (f'So were the {MAX_LEFT_OUT} before it, and their '
                           'steps were left out. Go')
        rank = get_rank()
        if valid:
            raise FloatingPointError(
                f'in iteration {runner.iter + 1} the loss of another rank '
                f'than {rank} is not finite; see the message of that rank')
        path = osp.join(runner.log_dir, f'invalid_loss_rank{rank}.json')
        write_json(
            path,
            dict(
                iteration=runner.iter + 1,
                epoch=runner.epoch + 1,
                # JSON has no NaN.
                losses={
                    name: str(value.item())
                    for name, value in outputs.items()
                },
                samples=[
                    _describe(inputs, sample) for inputs, sample in zip(
                        data_batch['inputs'], data_batch['data_samples'])
                ]),
            indent=1)
        raise FloatingPointError(
            f'the loss is {outputs["loss"].item()} in iteration '
            f'{runner.iter + 1}; {path} has the batch. {consequence} on from '
            'the last checkpoint with a lower learning rate, '
            'optim_wrapper.clip_grad or other data, see docs/robustness.md')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep broken weights out of checkpoints.

        Args:
            runner (Runner): The runner of the training.
            checkpoint (dict): What is to be saved.

        Raises:
            FloatingPointError: If a weight is not finite.
        """
        broken = [
            name for name, weight in checkpoint['state_dict'].items()
            if not weight.isfinite().all()
        ]
        if broken:
            raise FloatingPointError(
                f'{len(broken)} weights are not finite after iteration '
                f'{runner.iter}, the first is {broken[0]}. No checkpoint is '
                'written. Go on from the last one with a lower learning rate '
                'or optim_wrapper.clip_grad')


def _describe(inputs: Tensor, sample: Any) -> Dict[str, Any]:
    return dict(
        image=sample.get('img_path'),
        image_id=sample.get('img_id'),
        annotation=sample.get('id'),
        inputs_finite=bool(inputs.isfinite().all()),
        targets_finite=all(
            bool(value.isfinite().all())
            for value in target_tensors(sample).values()))
