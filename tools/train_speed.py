"""Time the training loops of configs side by side.

The configs take turns, an iteration each, in one process; what is loaded is
what `mim train` would load, with the configs' own pipelines and batch sizes,
but in this process, so that one thread does it all. Prints, for each config,
images per second, the share of the time that loading takes, and the ratio to
the first.
"""
import argparse
import statistics
import sys
import tempfile
import time
from typing import Dict, Iterator, List, Optional, Sequence

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from lgm_pose_plugin.benchmark.report import markdown_table
from lgm_pose_plugin.models.builder import load_config


class TrainingLoop:
    """A config's training, an iteration at a time.

    Args:
        cfg (Config): The config.
        folder (str): Folder for logs.
    """

    def __init__(self, cfg: Config, folder: str):
        cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
        cfg.work_dir, cfg.log_level = folder, 'ERROR'
        cfg.experiment_name = f'{time.time_ns()}'
        # Runners are kept by name.
        runner = Runner.from_cfg(cfg)
        self.model = runner.model.train()
        self.optimizer = runner.build_optim_wrapper(cfg.optim_wrapper)
        self.batches = self._endless(
            runner.build_dataloader(cfg.train_dataloader))
        self.batch_size: int = cfg.train_dataloader.batch_size
        self.times: Dict[str, List[float]] = dict(load=[], step=[])

    @staticmethod
    def _endless(loader: torch.utils.data.DataLoader) -> Iterator[dict]:
        """Batches of one epoch after another."""
        while True:
            yield from loader

    def step(self) -> None:
        """Load a batch, train on it, and note both times."""
        start = time.perf_counter()
        batch = next(self.batches)
        loaded = time.perf_counter()
        self.model.train_step(batch, self.optimizer)
        self.times['load'].append(loaded - start)
        self.times['step'].append(time.perf_counter() - loaded)

    def medians(self, warm_up: int) -> Dict[str, float]:
        """Median seconds per image of what was noted.

        Args:
            warm_up (int): How many iterations do not count.

        Returns:
            dict[str, float]: Of ``'load'`` and ``'step'``.
        """
        return {
            name: statistics.median(times[warm_up:]) / self.batch_size
            for name, times in self.times.items()
        }


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Time and print.

    Args:
        argv (Sequence[str], optional): The arguments. Defaults to
            ``sys.argv[1:]``.

    Returns:
        int: 0.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--iterations', type=int, default=30, help='(default: %(default)s)')
    parser.add_argument(
        '--warm-up',
        type=int,
        default=5,
        help='iterations before, not counted (default: %(default)s)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={})
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    loops = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.configs:
            cfg = load_config(name)
            cfg.merge_from_dict(args.cfg_options)
            loops.append(TrainingLoop(cfg, folder))
        for _ in range(args.warm_up + args.iterations):
            for loop in loops:
                loop.step()
    rows, first = [], None
    for name, loop in zip(args.configs, loops):
        medians = loop.medians(args.warm_up)
        total = sum(medians.values())
        first = first or total
        rows.append([
            name.rsplit('/', 1)[-1], f'{loop.batch_size}', f'{1 / total:.1f}',
            f'{first / total:.2f}', f'{medians["load"] / total:.0%}'
        ])
    print(
        markdown_table(('config', 'batch', 'images/s', 'ratio', 'loading'),
                       rows,
                       left=1),
        end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())
