"""A list of the pictures and annotations that were skipped."""
import collections
import logging
import os.path as osp
from typing import Any, Dict, Iterator, List, Sequence

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from lgm_pose_plugin.utils.files import write_json


@HOOKS.register_module()
class SkippedDataHook(Hook):
    """List what data sets with ``on_bad='skip'`` skipped.

    At the end of training, of a validation and of a test it logs how much was
    skipped and the first of it, and writes all of it to
    ``skipped_train.json``, ``skipped_val.json`` or ``skipped_test.json``
    beside the log: ``image``, ``annotation`` and ``reason`` of each. Nothing
    is logged or written if nothing was skipped.

    The data sets work in processes of their own, the data loader's workers;
    what they skip comes with the next sample (see :class:`CheckedDataset`),
    and is collected here, over all ranks.

    Args:
        max_logged (int): So many are logged. Defaults to 20.
    """

    def __init__(self, max_logged: int = 20):
        self.max_logged = max_logged
        self._skipped: Dict[str, Dict[tuple, Dict[str, Any]]] = (
            collections.defaultdict(dict))

    def _after_iter(self,
                    runner: Runner,
                    batch_idx: int,
                    data_batch: Any = None,
                    outputs: Any = None,
                    mode: str = 'train') -> None:
        if isinstance(data_batch, dict):
            for sample in data_batch.get('data_samples', ()):
                self._add(mode, sample.get('skipped', ()))

    def after_train(self, runner: Runner) -> None:
        """Report on the training.

        Args:
            runner (Runner): The runner.
        """
        self._report(runner, 'train')

    def after_val(self, runner: Runner) -> None:
        """Report on a validation.

        Args:
            runner (Runner): The runner.
        """
        self._report(runner, 'val')

    def after_test(self, runner: Runner) -> None:
        """Report on a test.

        Args:
            runner (Runner): The runner.
        """
        self._report(runner, 'test')

    def _add(self, mode: str, records: Sequence[Dict[str, Any]]) -> None:
        for record in records:
            self._skipped[mode].setdefault(
                (record['image'], record['annotation']), record)

    def _report(self, runner: Runner, mode: str) -> None:
        loop = getattr(runner, f'{mode}_loop')
        for dataset in _innermost(loop.dataloader.dataset):
            self._add(mode, getattr(dataset, 'skipped', ()))
        for records in all_gather_object(list(self._skipped[mode].values())):
            self._add(mode, records)
        records = sorted(
            self._skipped[mode].values(),
            key=lambda record: (record['image'], str(record['annotation'])))
        if not records or not is_main_process():
            return
        path = osp.join(runner.log_dir, f'skipped_{mode}.json')
        write_json(path, records, indent=1)
        more = len(records) - self.max_logged
        runner.logger.log(
            logging.WARNING, '\n'.join([
                f'annotations skipped in {mode}: {len(records)}, see {path}',
                *(f'  {record["image"]}, annotation '
                  f'{record["annotation"]}: '
                  f'{record["reason"]}'
                  for record in records[:self.max_logged]),
                *([f'  and {more} more'] if more > 0 else [])
            ]))


def _innermost(dataset: Any) -> Iterator[Any]:
    """The data sets within MMEngine's and MMPose's wrappers."""
    within: List[Any] = getattr(dataset, 'datasets', None) or [
        one for one in [getattr(dataset, 'dataset', None)] if one is not None
    ]
    for one in within:
        yield from _innermost(one)
    if not within:
        yield dataset
