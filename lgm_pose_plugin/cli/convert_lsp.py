"""convert Leeds Sports Pose (LSP or LSPET) to COCO-style annotations

SRC is the unpacked archive: joints.mat and images/. OUT gets annotations/ with
<lsp|lspet>_train.json, _val.json and _removed.json, and, if it has no images/,
a link to those of SRC. Records that cannot be right (fewer than 8 joints
labelled, or a joint far outside of the image) are left out and listed in
_removed.json with the reason. LSPET's images 1 to 6000 are train and 6001 to
7000 val; those above go to lspet_extra.json. LSP's first 1,000 are train, the
others val.
"""
import argparse
from collections import Counter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of ``lgm-pose convert-lsp``."""
    parser.add_argument(
        'source', metavar='SRC', help='folder with joints.mat and images/')
    parser.add_argument(
        'out',
        metavar='OUT',
        nargs='?',
        help="the configs' data_root, data/lsp (default: SRC)")
    parser.add_argument(
        '--val-from',
        type=int,
        metavar='NUMBER',
        help='number of the first image of val, for another split; those '
        'before it are train')


def run(args: argparse.Namespace) -> int:
    """Convert and print what was kept and removed.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        FileNotFoundError: If ``joints.mat`` is missing.
        ValueError: If the data are not those of LSP or LSPET, or an image is
            missing or broken.
    """
    from lgm_pose_plugin.datasets.converters.lsp import convert

    out = args.out or args.source
    files = convert(args.source, out, args.val_from)
    *splits, removed_name = files
    removed = files[removed_name]['removed']
    by_split = Counter(record['split'] for record in removed)
    for name in splits:
        split = name[:-len('.json')].split('_')[1]
        print(f'{out}/annotations/{name}: {len(files[name]["images"])} '
              f'images, {by_split[split]} removed')
    print(f'{out}/annotations/{removed_name}: the {len(removed)} removed '
          'records and the reasons')
    return 0
