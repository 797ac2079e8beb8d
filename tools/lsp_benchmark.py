"""Train the networks of docs/lsp_benchmark.md and write its tables.

Each config of configs/body_2d_keypoint/lsp_benchmark is trained by `mim train`
with the seeds it is given below, one after another, in the present folder,
where data/lsp is; a run that is complete is not repeated. What they reached
goes to docs/lsp_benchmark.json and from there into the document, between its
markers `<!-- benchmark:NAME -->` and `<!-- /benchmark:NAME -->`.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any, Dict, List, Optional, Sequence, Tuple

from benchmark_docs import replace_sections

from lgm_pose_plugin.analysis.complexity import count_complexity
from lgm_pose_plugin.benchmark.report import markdown_table
from lgm_pose_plugin.setup_env import set_up_mmpose
from lgm_pose_plugin.utils.files import replacing, write_json

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs/body_2d_keypoint/lsp_benchmark'
DOCUMENT = ROOT / 'docs/lsp_benchmark.md'
EPOCHS = 4
# The rows of each table, by the start of the config's name, and what they are.
TABLES: Dict[str, Sequence[Tuple[str, str]]] = {
    'larm': (
        ('td-hm_lgm-pose', 'LGM-Pose, LARM with residuals'),
        ('td-hm_lgm-pose-no-residual', 'LARM without residuals'),
        ('td-hm_lgm-pose-no-larm', 'no LARM'),
        ('td-hm_lgm-pose-mobilevit', "MobileViT's blocks"),
    ),
    'designs': (
        ('td-hm_lgm-pose', 'LGM-Pose, design A'),
        ('td-hm_lgm-pose-l', 'design L'),
        ('td-hm_lgm-pose-b', 'design B'),
    ),
    'fusion': (
        ('td-hm_lgm-pose', 'LGM-Pose, SFusion'),
        ('td-hm_lgm-pose-fusion-none', 'no fusion'),
        ('td-hm_lgm-pose-fusion-dw1', 'depthwise'),
        ('td-hm_lgm-pose-fusion-dw2', 'two channels per group, no shuffle'),
        ('td-hm_lgm-pose-fusion-conv', 'convolution'),
    ),
    'rivals': (
        ('td-hm_lgm-pose', 'LGM-Pose'),
        ('td-hm_lgm-pose-fast', 'LGM-Pose-Fast'),
        ('simcc_lgm-pose-fast', 'LGM-Pose-Fast with SimCC'),
        ('td-hm_mobilenetv2', 'MobileNetV2'),
        ('td-hm_litehrnet-18', 'Lite-HRNet-18'),
        ('simcc_rtmpose-t', 'RTMPose-t'),
    ),
    'lapx': (
        ('td-hm_lapx', 'LAPX'),
        ('td-hm_lapx-cbam', "LAPX's ablation, row 1"),
        ('td-hm_lap', 'LAP'),
    ),
    'recipe': (
        ('td-hm_lgm-pose-distilled', 'LGM-Pose, this recipe, and a teacher'),
        ('td-hm_lgm-pose', 'this recipe'),
        ('td-hm_lgm-pose-mse', 'mean squared error'),
        ('td-hm_lgm-pose-mse-mmpose-augmentation',
         "and MMPose's augmentation"),
        ('td-hm_lgm-pose-paper-batch8', "and the paper's Adam and steps"),
        ('td-hm_lgm-pose-paper', "and batch 32: the paper's recipe"),
    ),
}
# Those that decide something are trained three times.
SEEDS = {
    'td-hm_lgm-pose': (0, 1, 2),
    'td-hm_lgm-pose-no-residual': (0, 1, 2),
    'td-hm_lgm-pose-paper': (0, 1, 2),
}


def config_of(name: str) -> Path:
    """Path of a row's config."""
    path, = CONFIGS.glob(f'{name}_*.py')
    return path


def last_result(folder: Path) -> Optional[Dict[str, Any]]:
    """What a run reached.

    Args:
        folder (Path): Its work_dir.

    Returns:
        dict, optional: The metrics after the last epoch, ``None`` if it did
        not get there.
    """
    for log in sorted(folder.glob('*/vis_data/scalars.json'), reverse=True):
        records = [json.loads(line) for line in log.read_text().splitlines()]
        for record in reversed(records):
            if 'lsp/PCK' in record and record['step'] == EPOCHS:
                return {
                    key: value
                    for key, value in record.items()
                    if key.startswith(('lsp/', 'coco/'))
                }
    return None


def train(name: str, seed: int, folder: Path) -> None:
    """Train a row's network by ``mim train``, on one thread.

    Args:
        name (str): The row.
        seed (int): The seed.
        folder (Path): The work_dir.
    """
    command = [
        sys.executable, '-m', 'mim', 'train', 'lgm_pose_plugin',
        str(config_of(name)), '--work-dir',
        str(folder), '--cfg-options', f'randomness.seed={seed}'
    ]
    for loader in ('train', 'val'):
        command += [
            f'{loader}_dataloader.num_workers=0',
            f'{loader}_dataloader.persistent_workers=False'
        ]
    print(*command, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with open(str(folder / 'output.log'), 'w') as log:
        subprocess.run(command, stdout=log, stderr=log, check=True)


def table(rows: Sequence[Tuple[str, str]],
          results: Dict[str, Dict[str, dict]]) -> str:
    """Write a table of the document.

    Args:
        rows (Sequence[tuple[str, str]]): Rows, as in ``TABLES``.
        results (dict[str, dict]): Metrics by row and seed.

    Returns:
        str: Markdown; rows without results say so.
    """
    lines: List[List[str]] = []
    for name, title in rows:
        complexity = count_complexity(str(config_of(name)))
        runs = [
            results.get(name, {})[seed]
            for seed in sorted(results.get(name, {}))
        ]
        pck, ap = ([100 * run[key] for run in runs]
                   for key in ('lsp/PCK', 'coco/AP'))
        seeds = ', '.join(f'{value:.1f}' for value in pck)
        lines.append([
            title, f'`{config_of(name).stem}`',
            f'{complexity.params / 1e6:.2f}', f'{complexity.macs / 1e9:.3f}',
            f'{mean(pck):.1f}' if pck else 'not run',
            seeds if len(pck) > 1 else '', f'{mean(ap):.1f}' if ap else ''
        ])
    return markdown_table(('network', 'config', 'params (M)', 'MACs (G)',
                           'PCK@0.2', 'of each seed', 'AP'),
                          lines,
                          left=2)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Train and write.

    Args:
        argv (Sequence[str], optional): The arguments. Defaults to
            ``sys.argv[1:]``.

    Returns:
        int: 0.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/lsp_benchmark'),
        help='folder of the runs (default: %(default)s)')
    parser.add_argument(
        '--write-only', action='store_true', help='train nothing')
    args = parser.parse_args(argv)
    set_up_mmpose()
    figures = DOCUMENT.with_suffix('.json')
    # Runs that lie elsewhere stay in the tables.
    results: Dict[str, Dict[str, dict]] = json.loads(figures.read_text())
    for name in dict(row for rows in TABLES.values() for row in rows):
        for seed in SEEDS.get(name, (0, )):
            folder = args.work_dir / name / f'seed{seed}'
            if last_result(folder) is None and not args.write_only:
                train(name, seed, folder)
            result = last_result(folder)
            if result is not None:
                results.setdefault(name, {})[str(seed)] = result
    write_json(str(figures), results, indent=1)
    text = replace_sections(DOCUMENT.read_text(), {
        name: table(rows, results)
        for name, rows in TABLES.items()
    })
    with replacing(str(DOCUMENT)) as temporary:
        Path(temporary).write_text(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
