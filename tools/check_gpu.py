#!/usr/bin/env python
"""Check the networks and their training on a GPU, within five minutes.

Needs an environment that runs the plugin, no data and no network: weights are
random, and people are rendered to train on. Every step has processes of its
own, so the others go on if one fails; then the exit status is 1. Prints tables
in Markdown; logs stay in the work dir. `--device cpu` runs the same on the
CPU, for which --batch, --iterations and --networks have to be reduced.

example: python tools/check_gpu.py --json gpu.json
    python tools/check_gpu.py --device cpu --batch 2 --iterations 8 \\
        --networks lgm-pose lapx
"""
import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median
from typing import Any, Dict, Iterator, List, Optional, Sequence

from lgm_pose_plugin.benchmark.report import environment_list, markdown_table
from lgm_pose_plugin.cli.options import HelpFormatter, add_file, add_number
from lgm_pose_plugin.doctor.checks import diagnose
from lgm_pose_plugin.doctor.facts import collect_facts
from lgm_pose_plugin.utils.errors import describe_error
from lgm_pose_plugin.utils.files import check_out_file, write_json
from lgm_pose_plugin.utils.machine import available_cpus, describe_machine
from lgm_pose_plugin.utils.subprocesses import function_command

Row = Dict[str, Any]
WRAPPERS = dict(
    float32='OptimWrapper',
    float16='AmpOptimWrapper',
    bfloat16='BFloat16OptimWrapper')
# Steps of a line run at the same time. Those that take times are alone.
STAGES = [
    line.split() for line in ('doctor agreement render', 'resume ddp', 'speed',
                              'layouts', *WRAPPERS, 'compilation')
]
STEPS = [step for stage in STAGES for step in stage]
DDP_ON_CPU = ('env_cfg.dist_cfg.backend=gloo',
              'model_wrapper_cfg.type=MMDistributedDataParallel',
              'model_wrapper_cfg.device_ids=None',
              'model_wrapper_cfg.broadcast_buffers=False')
# From here on a training has to show a smaller loss.
ENOUGH_ITERATIONS = 100
EPOCHS = 4
REPEATS = 4  # of each person in an epoch, since rendering takes time
TRAIN = Path(__file__).resolve().with_name('train.py')
CONFIG = """
_base_ = ('lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/coco/'
          'td-hm_lgm-pose_1xb32-260e_coco-256x192.py')
train_cfg = dict(max_epochs={epochs})
train_dataloader = dict(
    batch_size={batch},
    num_workers={workers},
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times={repeats},
        dataset=dict(_base_.train_dataloader.dataset, data_root={data!r})))
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=1, max_keep_ckpts=1))
log_processor = dict(window_size=1)
randomness = dict(seed=0)
"""


class SkipStep(Exception):
    """Raised by a step that cannot run on this device; says why."""


class Check:
    """Runs the steps.

    Args:
        args (argparse.Namespace): The parsed arguments.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.folder = Path(args.work_dir, time.strftime('%Y%m%d_%H%M%S'))
        self.folder.mkdir(parents=True)
        self.deadline = time.monotonic() + args.budget
        # Steps run at the same time. Their threads would wait for each other.
        self.env = dict(os.environ, OMP_NUM_THREADS='1')
        if args.device == 'cpu':
            self.env['CUDA_VISIBLE_DEVICES'] = ''

    def run_step(self, step: str) -> Row:
        """Run a step.

        Args:
            step (str): One of ``STEPS``.

        Returns:
            dict: ``step``, ``result`` (ok, skipped or failed), ``seconds``,
            ``reason`` if it is not ok, and ``rows``.
        """
        run = self.precision if step in WRAPPERS else getattr(
            self, step, self.measure)
        rows: List[Row] = []
        result, reason = 'ok', ''
        start = time.monotonic()
        try:
            for row in run(step):
                rows.append(row)
            errors = [row['error'] for row in rows if 'error' in row]
            if errors:
                result, reason = 'failed', f'{len(errors)} x: {errors[0]}'
        except SkipStep as error:
            result, reason = 'skipped', str(error)
        # Whatever it is, the other steps go on.
        except Exception as error:
            result, reason = 'failed', describe_error(error)
        print(f'{step}: {result} {reason}', file=sys.stderr)
        return dict(
            step=step,
            result=result,
            seconds=round(time.monotonic() - start, 1),
            reason=reason,
            rows=rows)

    def call(self,
             name: str,
             command: Sequence[Any],
             until: Optional[Path] = None,
             **env: str) -> None:
        """Run a process until it ends.

        Args:
            name (str): Name of its log.
            command (Sequence): The command.
            until (Path, optional): A file. The process is killed once this is
                there.
            **env (str): Further environment variables.

        Raises:
            ChildProcessError: If the process ends otherwise than it should.
            TimeoutError: If the time is up.
        """
        log = self.folder / f'{name}.log'
        with open(log, 'a') as file:
            process = subprocess.Popen(
                list(map(str, command)),
                env=dict(self.env, **env),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT)
        try:
            while process.poll() is None and not (until and until.exists()):
                if time.monotonic() > self.deadline:
                    raise TimeoutError(
                        f'the {self.args.budget:g} s of --budget are over')
                time.sleep(.02)
        finally:
            process.kill()
            process.wait()
        if process.returncode != (-signal.SIGKILL if until else 0):
            raise ChildProcessError(
                f'exit status {process.returncode}, see {log}: '
                f'{log.read_text().strip().splitlines()[-1:]}')

    def doctor(self, step: str) -> Iterator[Row]:
        """Ask `lgm-pose doctor`; what a use needs is an error."""
        for result in diagnose(collect_facts()):
            row = dict(
                check=result.name, status=result.status, found=result.found)
            if result.blocks:
                row['error'] = f'{result.name}: {result.remedy}'
            yield row

    def measure(self, step: str) -> Iterator[Row]:
        """Run a step of gpu_networks.py; gives also what a failed one did."""
        args, path = self.args, self.folder / f'{step}.json'
        command = function_command('gpu_networks', 'measure', step, str(path),
                                   args.device, args.networks, args.batch,
                                   args.budget / 20)
        try:
            self.call(step, command)
        finally:
            if path.exists():
                yield from json.loads(path.read_text())

    def render(self, step: str) -> Iterator[Row]:
        """Render people and write the config that trains on them."""
        batch, data = self.args.batch, str(self.folder / 'data')
        people = max(1, batch * self.args.iterations // EPOCHS // REPEATS)
        self.call(
            step,
            function_command('lgm_pose_plugin.datasets.rendered.writer',
                             'write_dataset', data, people, 0, 'train2017',
                             (192, 144), 1))
        (self.folder / 'config.py').write_text(
            CONFIG.format(
                epochs=EPOCHS,
                batch=batch,
                workers=min(8, int(available_cpus())),
                repeats=REPEATS,
                data=data))
        yield dict(people=people)

    def train(self,
              name: str,
              *options: str,
              flags: Sequence[str] = (),
              until: str = '',
              **env: str) -> List[Row]:
        """Train by tools/train.py.

        Args:
            name (str): Name of work dir and log.
            *options (str): What follows ``--cfg-options``.
            flags (Sequence[str]): Other arguments.
            until (str): File of the work dir, see :meth:`call`.
            **env (str): Further environment variables.

        Returns:
            list[dict]: MMEngine's record of each iteration of this process.
        """
        work_dir = self.folder / name
        self.call(
            name, [
                sys.executable, TRAIN, self.folder / 'config.py', '--work-dir',
                work_dir, '--no-validate', *flags, '--cfg-options', *options
            ],
            until=work_dir / until if until else None,
            **env)
        last = sorted(work_dir.glob('*/vis_data/scalars.json'))[-1]
        return [json.loads(line) for line in last.read_text().splitlines()]

    def precision(self, step: str) -> Iterator[Row]:
        """Train in one precision."""
        if step == 'float16' and self.args.device == 'cpu':
            raise SkipStep("MMEngine's AmpOptimWrapper needs a GPU")
        records = self.train(step, f'optim_wrapper.type={WRAPPERS[step]}')
        losses = [record['loss'] for record in records]
        tenth = max(1, len(losses) // 10)
        # In the first epoch kernels are chosen.
        later = [record for record in records if record['epoch'] > 1]
        seconds = sum(record['time'] for record in later)
        loading = sum(record['data_time'] for record in later)
        row = dict(
            iterations=len(losses),
            first_loss=mean(losses[:tenth]),
            last_loss=mean(losses[-tenth:]),
            # Without the wait for the loader, which is the last figure.
            images_per_second=self.args.batch /
            median(record['time'] - record['data_time'] for record in later),
            # MMEngine writes it on a GPU alone.
            memory_mb=max(record.get('memory', 0) for record in records)
            or None,
            loading_share=loading / seconds)
        if len(losses) >= ENOUGH_ITERATIONS and not (row['last_loss']
                                                     < row['first_loss']):
            row['error'] = 'the loss has not fallen'
        yield row

    def resume(self, step: str) -> Iterator[Row]:
        """Kill a training in its second epoch, resume it and compare."""
        from lgm_pose_plugin.checkpoint import load_checkpoint
        options = ('randomness.deterministic=True', 'train_cfg.max_epochs=2')
        env = dict(CUBLAS_WORKSPACE_CONFIG=':4096:8')
        whole = self.train('undisturbed', *options, **env)
        self.train('killed', *options, until='last_checkpoint', **env)
        rest = self.train('killed', *options, flags=['--resume'], **env)
        weights, resumed = (
            load_checkpoint(str(self.folder / name /
                                'epoch_2.pth'))['state_dict']
            for name in ('undisturbed', 'killed'))
        row = dict(
            iterations=len(whole),
            resumed=len(rest),
            weights=len(weights),
            different=sum(not weights[key].equal(resumed[key])
                          for key in weights))
        if row['different'] or 2 * len(rest) != len(whole):
            row['error'] = 'the resumed training is not the undisturbed one'
        yield row

    def ddp(self, step: str) -> Iterator[Row]:
        """Train for an epoch in one process of DistributedDataParallel."""
        on_cpu = self.args.device == 'cpu'
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        records = self.train(
            step,
            'train_cfg.max_epochs=1',
            *(DDP_ON_CPU if on_cpu else ()),
            flags=['--launcher', 'pytorch'],
            **dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1'),
            **dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port)))
        yield dict(
            backend='gloo' if on_cpu else 'nccl',
            iterations=len(records),
            loss=records[-1]['loss'])


def describe_device(device: str) -> Dict[str, Any]:
    """Say what the results depend on.

    Args:
        device (str): ``'cuda'`` or ``'cpu'``.

    Returns:
        dict: Date, machine and versions.

    Raises:
        ValueError: If there is no such device.
    """
    import torch
    facts: Dict[str, Any] = dict(
        describe_machine(('torch', )), cores=available_cpus())
    if device == 'cuda':
        if not torch.cuda.is_available():
            raise ValueError(
                f'torch {torch.__version__} finds no GPU; see `lgm-pose '
                'doctor`, or use --device cpu')
        major, minor = torch.cuda.get_device_capability()
        memory = torch.cuda.get_device_properties(0).total_memory
        facts.update({
            'GPU': torch.cuda.get_device_name(),
            'GPU memory (MB)': memory // 10**6,
            'compute capability': f'{major}.{minor}',
            'CUDA': torch.version.cuda,
            'cuDNN': torch.backends.cudnn.version()
        })
    return facts


def table(rows: Sequence[Row]) -> str:
    """Write rows as a table in Markdown; missing cells are empty."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f'{value:.3g}' if abs(value) < 1000 else f'{value:.0f}'
        return '' if value is None else str(value).replace('|', '/')

    header = list(
        dict.fromkeys(name for row in rows for name in row
                      if row[name] is not None))
    return markdown_table(
        header, [[cell(row.get(name)) for name in header] for row in rows],
        left=1)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the steps, print and write what they give.

    Args:
        argv (Sequence[str], optional): The arguments. Defaults to
            ``sys.argv[1:]``.

    Returns:
        int: 0, or 1 if a step failed.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument(
        '--steps',
        nargs='+',
        choices=STEPS,
        default=STEPS,
        metavar='STEP',
        help=f'some of {", ".join(STEPS)} (default: all)')
    parser.add_argument(
        '--networks',
        nargs='+',
        default=[],
        metavar='CONFIG',
        help='as of `lgm-pose benchmark` (default: all short names)')
    add_number(parser, '--batch', 64, 'images of a step and for throughput')
    add_number(parser, '--iterations', 100, 'of training in each precision')
    add_number(parser, '--budget', 300., 'what is not done then has failed',
               'SECONDS')
    parser.add_argument(
        '--work-dir',
        default='work_dirs/check_gpu',
        help='each run makes a folder in it')
    add_file(parser, '--json', 'where to write all of it as JSON')
    args = parser.parse_args(argv)
    try:
        if args.json:
            check_out_file(args.json)
        environment = dict(
            command=shlex.join(['tools/check_gpu.py', *sys.argv[1:]]),
            **describe_device(args.device))
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    check, results = Check(args), []
    chosen = set(args.steps)
    if chosen & {'resume', 'ddp', *WRAPPERS}:
        chosen.add('render')
    for stage in STAGES:
        with ThreadPoolExecutor() as pool:
            results += pool.map(check.run_step,
                                [step for step in stage if step in chosen])
        if args.json:
            report = dict(environment=environment, steps=results)
            write_json(args.json, report, indent=2)
    print(environment_list(environment))
    print(table([dict(result, rows=None) for result in results]))
    for result in results:
        if result['rows']:
            print(f'{result["step"]}\n\n{table(result["rows"])}')
    return int(any(result['result'] == 'failed' for result in results))


if __name__ == '__main__':
    sys.exit(main())
