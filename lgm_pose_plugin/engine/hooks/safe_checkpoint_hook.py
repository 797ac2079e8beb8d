"""Checkpoints that a killed training leaves whole."""
import os
import os.path as osp
import re
from pathlib import Path
from typing import Set, Union
from zipfile import is_zipfile

from mmengine import Config
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmpose.registry import HOOKS

from lgm_pose_plugin.checkpoint.loading import check_finite
from lgm_pose_plugin.utils.files import replacing


@register_backend('local_whole', force=True)
class WholeFileBackend(LocalBackend):
    """MMEngine's backend for local files, which replaces files atomically.

    MMEngine writes into the file itself. A process that is killed meanwhile
    leaves half of the new file and nothing of the old one. MMEngine also
    removes outdated files before it writes the new one. This backend removes
    them afterwards.
    """

    # MMEngine makes a backend for each write.
    _outdated: Set[str] = set()

    def remove(self, filepath: Union[str, Path]) -> None:
        """Remove a file once the next one is written.

        Args:
            filepath (str | Path): The file's path.
        """
        self._outdated.add(osp.realpath(filepath))

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write a file beside ``filepath``, then replace that.

        Args:
            obj (bytes): What to write.
            filepath (str | Path): The file's path.
        """
        outdated = self._outdated - {osp.realpath(filepath)}
        self._outdated.clear()
        with replacing(str(filepath)) as temporary:
            with open(temporary, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
        for path in outdated:
            os.remove(path)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` for trainings that may be killed.

    - A checkpoint is written beside its final name and renamed, so that a
      file of that name is whole.
    - Outdated checkpoints (``max_keep_ckpts``, ``save_best``) are removed
      once the new one is there.
    - If the file ``last_checkpoint`` names a checkpoint that is missing or
      not whole, ``--resume`` takes the newest whole one and says so.
    - ``--resume`` without a checkpoint begins with the ``load_from`` of the
      config file. MMPose would begin with random weights.
    - A validation that is due at the resumed epoch is run first. MMEngine
      saves before it validates, so a resumed training would leave it out. If
      the validation had been done, it changes nothing. (On another device it
      may give more and then replaces the best checkpoint.)
    - Weights that are not finite are refused.
    - In a test and in a resumed training, weights that do not fill the network
      are refused, e.g. those of another number of key points. MMEngine would
      leave the rest random. ``load_from``, which fine-tunes, may fill a part.
    - A resume from a checkpoint with a text ``meta['config']`` is refused.
      MMEngine does not write this text, but would run it.

    Args:
        **kwargs: Those of ``CheckpointHook``. ``backend_args`` defaults to
            the local disk; give them to save elsewhere.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault('backend_args', dict(backend='local_whole'))
        super().__init__(**kwargs)

    def before_run(self, runner: Runner) -> None:
        """Find what a training is to be resumed from, or begins with.

        Args:
            runner (Runner): The runner.

        Raises:
            FileNotFoundError: If neither the checkpoint that
                ``last_checkpoint`` names nor one beside it is whole.
        """
        if not runner._resume or runner._load_from is not None:
            return
        last_checkpoint = Path(runner.work_dir, 'last_checkpoint')
        if not last_checkpoint.is_file():
            self._begin(runner)
        elif is_main_process():
            self._mend(last_checkpoint, runner)
        barrier()

    def _begin(self, runner: Runner) -> None:
        # MMPose has removed load_from from the config in memory.
        path = runner.cfg.filename
        load_from = path and Config.fromfile(path).get('load_from')
        if load_from:
            runner.logger.warning(
                f'{runner.work_dir} has nothing to resume; beginning with the '
                f'load_from of {path}')
            runner._load_from, runner._resume = load_from, False

    def _mend(self, last_checkpoint: Path, runner: Runner) -> None:
        named = last_checkpoint.read_text().strip()
        if '://' in named or is_zipfile(named):
            return
        folders = {
            last_checkpoint.parent,
            Path(named or last_checkpoint).parent
        }
        whole = [
            path for folder in folders
            for path in folder.glob(re.sub('{.*}', '*', self.filename_tmpl))
            if is_zipfile(str(path))
        ]
        if not whole:
            raise FileNotFoundError(
                f'{last_checkpoint} names {named or "nothing"}, which is '
                'missing or incomplete, and no whole checkpoint is beside it. '
                f'Restore it, or remove {last_checkpoint} to start anew')
        newest = max(whole, key=lambda path: path.stat().st_mtime)
        runner.logger.warning(f'{named or last_checkpoint} is missing or '
                              f'incomplete; resuming from {newest}')
        with replacing(str(last_checkpoint)) as temporary:
            Path(temporary).write_text(str(newest))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse weights that are broken or of another network.

        Args:
            runner (Runner): The runner, whose network has its old weights.
            checkpoint (dict): The checkpoint.

        Raises:
            ValueError: If a weight is not finite; if some are missing,
                superfluous or of another shape in a test or resumed training;
                if a resumed training would run a part of the checkpoint.
        """
        if runner._resume and 'config' in (checkpoint.get('meta') or {}):
            raise ValueError(
                "The checkpoint is refused: it has a meta['config'"
                "], which MMEngine would run as code to resume")
        weights = checkpoint.get('state_dict', checkpoint)
        check_finite(weights, 'The checkpoint')
        # Before the training it is a dictionary; a test has none.
        fine_tunes = isinstance(runner._train_loop,
                                BaseLoop) and not runner._resume
        if fine_tunes:
            return
        try:
            _load_checkpoint_to_model(runner.model, checkpoint, strict=True)
        except RuntimeError as error:
            raise ValueError('The checkpoint is not of the network in the '
                             f'config: {error}') from error

    def before_train(self, runner: Runner) -> None:
        """Run the validation that a kill may have prevented.

        Args:
            runner (Runner): The runner of the training.
        """
        super().before_train(runner)
        loop = runner.train_loop
        by_epochs = isinstance(loop, EpochBasedTrainLoop)
        if by_epochs and loop.iter != loop.epoch * len(
                runner.train_dataloader):
            runner.logger.warning(
                f'Resumed after {loop.iter} iterations in {loop.epoch} epochs.'
                f' An epoch now has {len(runner.train_dataloader)} iterations.'
                ' An epoch that had begun starts anew. Schedules by '
                'iterations keep their old lengths: with another batch or '
                'number of GPUs, start a new training with load_from instead')
            if not self.by_epoch:
                return
        # Of `dynamic_intervals`, at the resumed epoch.
        loop._decide_current_val_interval()
        done, last = ((loop.epoch, loop.max_epochs) if by_epochs else
                      (loop.iter, loop.max_iters))
        if 0 < done >= loop.val_begin and runner.val_loop is not None and (
                done % loop.val_interval == 0 or done == last):
            runner.logger.info('Validating the resumed checkpoint')
            runner.val_loop.run()
