"""LAPX's training strategy for its Non-Local layers (arXiv 2512.16089)."""
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from lgm_pose_plugin.models.layers import NonLocal


@HOOKS.register_module()
class NonLocalRampHook(Hook):
    """Switch :class:`NonLocal` on late in training, and gamma up gradually.

    `LAPX <https://arxiv.org/abs/2512.16089>`_'s training strategy. Before
    ``begin`` the layers return their input and their weights get no gradient,
    so that no optimizer changes them. From ``begin`` to ``end`` gamma rises
    linearly, step by step, from just above 0 (where no other weight would get
    a gradient) to its target; then it stays there or is learnt. The paper
    does not print begin and end (inferred).

    A resumed training continues where it stopped, also on another number of
    GPUs: gamma is a function of the epoch and the step in it (or the
    iteration), which MMEngine restores, and a learnt gamma is a parameter in
    the checkpoint. Fine-tuning (``load_from``) starts at epoch 0, with the
    layers off. To keep the loaded gamma, leave the hook out. Layers in
    ``frozen_stages`` keep their gamma.

    The gammas are logged as ``gamma_1``, ``gamma_2``, ... in the model's
    order. Training in several processes needs ``find_unused_parameters=True``
    in the config.

    Args:
        begin (int): Epoch (or iteration) at which the layers are switched on,
            counted from 0.
        end (int): Epoch (or iteration) at which gamma has its target.
        gamma (float): The target. Defaults to 0.2, the paper's best.
        learn_gamma (bool): Whether gamma is learnt from ``end`` on. Defaults
            to ``False``.
        by_epoch (bool): Whether ``begin`` and ``end`` are epochs. Defaults to
            ``True``.

    Raises:
        ValueError: If not ``0 <= begin < end``; before training, if the model
            has no :class:`NonLocal` layer that is not frozen.
    """

    def __init__(self,
                 begin: int,
                 end: int,
                 gamma: float = 0.2,
                 learn_gamma: bool = False,
                 by_epoch: bool = True):
        if not 0 <= begin < end:
            raise ValueError('NonLocalRampHook needs 0 <= begin < end, got '
                             f'begin={begin}, end={end}')
        self.begin = begin
        self.end = end
        self.gamma = gamma
        self.learn_gamma = learn_gamma
        self.by_epoch = by_epoch

    def before_train(self, runner: Runner) -> None:
        """Find the layers.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ValueError: If there are none.
        """
        self.layers = [
            module for module in runner.model.modules()
            if isinstance(module, NonLocal) and module.gamma.requires_grad
        ]
        if not self.layers:
            raise ValueError(
                'NonLocalRampHook found no NonLocal layer in the model that '
                'is not frozen; take the hook out of custom_hooks')
        length = runner.max_epochs if self.by_epoch else runner.max_iters
        if length < self.end:
            runner.logger.warning(
                f'NonLocalRampHook raises gamma until {self.end}, but the '
                f'training ends at {length}; set begin and end, or take the '
                'hook out of custom_hooks to keep a loaded gamma')

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Set the layers for this iteration and log gamma.

        Args:
            runner (Runner): The runner of the training.
            batch_idx (int): Number of the step in the epoch, from 0.
            data_batch (Any): Unused.
        """
        unit, now = 1, runner.iter
        if self.by_epoch:
            unit = len(runner.train_dataloader)
            now = runner.epoch * unit + batch_idx
        step = now + 1 - self.begin * unit
        length = (self.end - self.begin) * unit
        for i, layer in enumerate(self.layers, start=1):
            layer.enabled = step > 0
            layer.learn_gamma = self.learn_gamma and step > length
            if not layer.learn_gamma:
                progress = min(max(step / length, 0), 1)
                layer.gamma.data.fill_(self.gamma * progress)
            runner.message_hub.update_scalar(f'train/gamma_{i}',
                                             layer.gamma.item())
