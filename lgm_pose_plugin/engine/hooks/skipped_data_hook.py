"""A list of the pictures and annotations that were skipped."""
import collections
import os.path as osp
from typing import Any, Dict, Iterator, List, Optional

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpose.registry import HOOKS

from lgm_pose_plugin.utils.files import write_json

MAX_LOGGED = 20
# Mean errors in pixels or lengths: how wrong a missed person is, is arbitrary.
UNBOUNDED = ('EPE', 'NME')


@HOOKS.register_module()
class SkippedDataHook(Hook):
    """List what data sets with ``on_bad='skip'`` skipped.

    After each epoch of training, validation and test it logs how much was
    skipped so far, and the first 20. It writes all to ``skipped_train.json``,
    ``skipped_val.json`` or ``skipped_test.json`` beside the log, with
    ``image``, ``annotation`` and ``reason``. If nothing was skipped, it does
    neither.

    The mean errors EPE and NME have no value for a person who was missed.
    They become NaN if somebody's picture was skipped, and the log says so.

    The data sets work in processes of their own, the data loader's workers.
    What they skip comes with the next sample (see :class:`CheckedDataset`).
    The hook collects it over all ranks.
    """

    def __init__(self):
        self._skipped: Dict[str, List[Dict[str, Any]]] = (
            collections.defaultdict(list))

    def _after_iter(self,
                    runner: Runner,
                    batch_idx: int,
                    data_batch: Any = None,
                    outputs: Any = None,
                    mode: str = 'train') -> None:
        if isinstance(data_batch, dict):
            for sample in data_batch.get('data_samples', ()):
                self._skipped[mode] += sample.get('skipped', ())

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        loader = getattr(runner, f'{mode}_loop').dataloader
        mine = self._skipped[mode] + [
            record for dataset in _innermost(loader.dataset)
            for record in getattr(dataset, 'skipped', ())
        ]
        by_name = {
            (record['image'], str(record['annotation'])): record
            for records in all_gather_object(mine)
            for record in records
        }
        if not by_name or not is_main_process():
            return
        records = [by_name[name] for name in sorted(by_name)]
        path = osp.join(runner.log_dir, f'skipped_{mode}.json')
        write_json(path, records, indent=1)
        runner.logger.warning('\n'.join([
            f'annotations skipped in {mode}: {len(records)}, see {path}',
            *('  {image}, annotation {annotation}: {reason}'.format(**record)
              for record in records[:MAX_LOGGED])
        ]))

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: Optional[Dict[str, float]] = None) -> None:
        """List what was skipped, see the class; ``metrics`` may change."""
        super().after_val_epoch(runner, metrics)
        self._withdraw(runner, 'val', metrics)

    def after_test_epoch(self,
                         runner: Runner,
                         metrics: Optional[Dict[str, float]] = None) -> None:
        """List what was skipped, see the class; ``metrics`` may change."""
        super().after_test_epoch(runner, metrics)
        self._withdraw(runner, 'test', metrics)

    def _withdraw(self, runner: Runner, mode: str,
                  metrics: Optional[Dict[str, float]]) -> None:
        """Make NaN of mean errors over people who were missed."""
        metrics = {} if metrics is None else metrics
        names = [
            name for name in metrics if name.rpartition('/')[2] in UNBOUNDED
        ]
        if names and any(all_gather_object(bool(self._skipped[mode]))):
            metrics.update(dict.fromkeys(names, float('nan')))
            runner.logger.warning(
                f'{", ".join(names)} cannot be measured over people whose '
                "pictures were skipped. Mend the pictures, or take a metric "
                'that counts these people as missed: AP, AUC or PCK')


def _innermost(dataset: Any) -> Iterator[Any]:
    """The data sets within MMEngine's and MMPose's wrappers."""
    within: List[Any] = getattr(dataset, 'datasets', None) or [
        one for one in [getattr(dataset, 'dataset', None)] if one is not None
    ]
    for one in within:
        yield from _innermost(one)
    if not within:
        yield dataset
