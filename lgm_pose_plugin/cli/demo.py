"""train LGM-Pose on rendered people in some minutes

Renders a small COCO-format data set of articulated people, trains on it
through `mim train`, tests with the COCO metric through `mim test` on pictures
of the same renderer that were not trained on, before and after, and draws
predictions beside the truth. AP rises from 0 to about 0.14. All of it goes
into OUT: data/rendered, work_dir with the checkpoint and the training's log,
pictures, and a log of each test. Run again with the same OUT, it keeps the
data set and trains anew. Two CPU cores are enough (set OMP_NUM_THREADS=1 if
others use them, too); nothing is downloaded.
"""
import argparse
import json
import os
import os.path as osp
import subprocess
import sys
import time
from contextlib import nullcontext
from importlib import util
from typing import Dict

from lgm_pose_plugin.doctor.facts import find_mim_configs
from lgm_pose_plugin.setup_env import set_up_mmpose
from .options import add_flag, add_number
from .render import render

CONFIG = 'td-hm_lgm-pose_1xb4-2e_rendered-128x96'
CONFIG_PATH = ('lgm_pose_plugin::body_2d_keypoint/topdown_heatmap/rendered/'
               f'{CONFIG}.py')
DATA_ROOT = osp.join('data', 'rendered')  # as in the config
# A person is about 95 pixels high then, 120 with the margin around the box:
# what the input of 128x96 can hold.
IMAGE_SIZE = (192, 144)
MAX_PEOPLE = 2
NUM_PICTURES = 12
PICTURE_SCALE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``lgm-pose demo``."""
    parser.add_argument(
        'out',
        metavar='OUT',
        nargs='?',
        default='demo_out',
        help='folder to write to')
    add_number(
        parser, '--images', 1600,
        'training images; a twentieth of it, but at least '
        f'{NUM_PICTURES}, is rendered for the test')
    add_number(parser, '--epochs', 2, 'epochs of training')
    add_number(parser, '--seed', 0, 'seed of pictures and training')
    add_flag(parser, '--overwrite',
             'replace a rendered data set in OUT that has other options')


def run(args: argparse.Namespace) -> int:
    """Render, test, train, test and draw.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        ChildProcessError: If mim fails.
        ImportError: If mim is missing or would not find the plugin.
        ValueError: If a number is out of range or OUT holds other data.
    """
    if args.epochs < 1:
        raise ValueError(f'--epochs {args.epochs}; use at least 1.')
    check_mim()
    from mmengine.runner import save_checkpoint

    from lgm_pose_plugin.models.builder import build_model, load_config
    started = time.perf_counter()
    out = osp.abspath(args.out)
    num_test = max(NUM_PICTURES, args.images // 20)
    print(f'Rendering {args.images} + {num_test} images', flush=True)
    set_up_mmpose()
    render(
        osp.join(out, DATA_ROOT),
        args.images,
        num_test,
        args.seed,
        image_size=IMAGE_SIZE,
        max_people=MAX_PEOPLE,
        overwrite=args.overwrite)

    print('Testing the untrained network', flush=True)
    # The weights that are tested first are those that are trained.
    untrained = osp.join(out, 'untrained.pth')
    model = build_model(load_config(CONFIG_PATH), seed=args.seed)
    save_checkpoint(dict(meta={}, state_dict=model.state_dict()), untrained)
    before = test(out, untrained, 'before')

    work_dir = osp.join(out, 'work_dir')
    call_mim(out, 'train', '--work-dir', work_dir, '--cfg-options',
             f'load_from={untrained}', f'train_cfg.max_epochs={args.epochs}',
             f'randomness.seed={args.seed}')

    print('Testing the trained network', flush=True)
    checkpoint = osp.join(work_dir, f'epoch_{args.epochs}.pth')
    after = test(out, checkpoint, 'after')
    pictures = osp.join(out, 'pictures')
    draw(out, checkpoint, pictures)

    print(f'\nseconds: {time.perf_counter() - started:.0f}')
    print(f'checkpoint: {checkpoint}')
    print(f'pictures, truth left and prediction right: {pictures}')
    print(f'AP on {num_test} unseen images: {before:.3f} before training, '
          f'{after:.3f} after')
    return 0


def check_mim() -> None:
    """Check that mim is there and will find the plugin's configs.

    Raises:
        ImportError: If not; the message says what to do.
    """
    if util.find_spec('mim') is None:
        raise ImportError('MIM is missing; run `pip install openmim`.')
    if not find_mim_configs():
        raise ImportError(
            'mim finds the configs of an installed lgm_pose_plugin only, and '
            'not those of an editable installation; run `pip install .` in '
            'its source folder.')


def test(out: str, checkpoint: str, name: str) -> float:
    """Test a checkpoint through mim.

    Args:
        out (str): The folder of the demo.
        checkpoint (str): The checkpoint.
        name (str): Name of the log and of the JSON file with all metrics.

    Returns:
        float: COCO's AP on ``val2017``.
    """
    metrics = osp.join(out, f'{name}.json')
    work_dir = osp.join(out, 'work_dir', name)
    call_mim(
        out,
        'test',
        *('-C', checkpoint, '--out', metrics, '--work-dir', work_dir),
        log=f'{name}.log')
    with open(metrics) as file:
        return float(json.load(file)['coco/AP'])


def call_mim(out: str, command: str, *options: str, log: str = '') -> None:
    """Run ``mim train`` or ``mim test`` with the demo's config.

    Args:
        out (str): The folder of the demo, where the config finds its data.
        command (str): ``'train'`` or ``'test'``.
        *options (str): The options.
        log (str): Name of a file in ``out`` that gets the output. Defaults
            to ``''``: it is shown.

    Raises:
        ChildProcessError: If mim fails.
    """
    with (open(osp.join(out, log), 'wb') if log else nullcontext()) as file:
        # `python -m mim` is the mim of this environment, on PATH or not.
        status = subprocess.run(
            [
                sys.executable, '-m', 'mim', command, 'lgm_pose_plugin',
                f'{CONFIG}.py', *options
            ],
            cwd=out,
            # One thread is faster at this batch size.
            env={
                'OMP_NUM_THREADS': '1',
                **os.environ
            },
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT).returncode
    if status:
        raise ChildProcessError(
            f'mim {command} ended with exit status {status}; see its output ' +
            (f'in {osp.join(out, log)}' if log else 'above'))


def draw(out: str, checkpoint: str, pictures: str) -> None:
    """Draw test images, the truth left and the prediction right.

    Args:
        out (str): The folder of the demo.
        checkpoint (str): The checkpoint that predicts.
        pictures (str): The folder to write PNG files to.
    """
    import mmcv
    import torch
    from mmengine.structures import InstanceData
    from mmpose.apis import inference_topdown, init_model
    from mmpose.registry import DATASETS, VISUALIZERS
    from mmpose.structures import merge_data_samples

    from lgm_pose_plugin.models.builder import load_config
    torch.set_num_threads(1)  # see call_mim; there is little to compute
    cfg = load_config(CONFIG_PATH)
    model = init_model(cfg, checkpoint, device='cpu')
    data = dict(cfg.test_dataloader.dataset, pipeline=[])
    data['data_root'] = osp.join(out, data['data_root'])
    visualizer = VISUALIZERS.build(
        dict(cfg.visualizer, vis_backends=None, radius=4, line_width=2))
    visualizer.set_dataset_meta(model.dataset_meta)
    people: Dict[str, list] = {}
    for person in DATASETS.build(data):
        people.setdefault(person['img_path'], []).append(person)
    for path in sorted(people)[:NUM_PICTURES]:
        sample = merge_data_samples(
            inference_topdown(model, path,
                              [person['bbox'][0] for person in people[path]]))
        truth = InstanceData.cat([
            InstanceData(
                keypoints=person['keypoints'],
                keypoints_visible=person['keypoints_visible'])
            for person in people[path]
        ])
        sample.gt_instances = truth
        # Enlarged, the lines hide less of the small pictures.
        for instances in (truth, sample.pred_instances):
            instances.keypoints *= PICTURE_SCALE
        name = osp.splitext(osp.basename(path))[0]
        visualizer.add_datasample(
            name,
            mmcv.imrescale(
                mmcv.imread(path, channel_order='rgb'), PICTURE_SCALE),
            sample,
            out_file=osp.join(pictures, f'{name}_truth_prediction.png'))
