"""draw what a key point's heat map looks at in the input

The effective receptive field (arXiv 1701.04128): the absolute gradient of one
unit of the heat map with respect to the input, averaged over inputs. One
panel for the network, one without each TYPE of module (an identity in its
place, the weights otherwise the same) and one for each --compare. A network
without a checkpoint has random weights; nothing is downloaded for it.

example: lgm-pose erf CONFIG epoch_210.pth --without LARM --keypoint nose
"""
import argparse
import json

from lgm_pose_plugin.setup_env import set_up_mmpose
from .options import (add_cfg_options, add_config, add_file, add_format,
                      add_inputs, add_number, parse_cfg_options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lgm-pose erf``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
    """
    add_config(parser, 'its weights')
    parser.add_argument(
        '--compare',
        nargs='+',
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='another network, with or without weights (can be repeated)')
    parser.add_argument(
        '--without',
        action='append',
        default=[],
        metavar='TYPE',
        help='class of modules to leave out, e.g. LARM (can be repeated)')
    parser.add_argument(
        '--keypoint',
        default='0',
        metavar='NAME_OR_INDEX',
        help='the key point')
    parser.add_argument(
        '--at',
        choices=('center', 'peak'),
        default='center',
        help="the unit: the map's middle, or each input's highest one, moved "
        'to the middle')
    add_inputs(
        parser,
        images='pictures or folders; each whole picture is the box of a '
        'person (default: noise)',
        dataset="the first people of CONFIG's test data set")
    add_number(parser, '--samples', None,
               'number of inputs (default: 32 of noise, 8 of pictures)')
    add_number(parser, '--seed', 0, 'of noise and random weights')
    add_cfg_options(
        parser, 'options of CONFIG, not of those compared with it, e.g. '
        'test_dataloader.dataset.bbox_file=None')
    add_file(parser, '-o --out', 'the picture to write', default='erf.png')
    add_format(parser, 'markdown', 'json')


def run(args: argparse.Namespace) -> int:
    """Draw the picture and print the figures.

    Args:
        args (argparse.Namespace): The parsed arguments.

    Returns:
        int: 0.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If an argument does not fit the networks.
    """
    for network in args.compare:
        if len(network) > 2:
            raise ValueError('--compare takes a config and a checkpoint, got '
                             f'{" ".join(network)}; repeat it for more')
    cfg_options = parse_cfg_options(args.cfg_options)
    set_up_mmpose()

    from lgm_pose_plugin.analysis.erf import draw, measure
    from lgm_pose_plugin.visualization.figures import check_picture_path
    check_picture_path(args.out)
    inputs = ('images'
              if args.images else 'dataset' if args.dataset else 'noise')
    samples = 32 if inputs == 'noise' else 8
    panels = measure(
        [(args.config, args.checkpoint)] + [(network + [None])[:2]
                                            for network in args.compare],
        without=args.without,
        keypoint=args.keypoint,
        at=args.at,
        images=args.images,
        dataset=args.dataset,
        samples=samples if args.samples is None else args.samples,
        seed=args.seed,
        cfg_options=cfg_options)
    draw(panels, args.out)
    settings = dict(
        keypoint=args.keypoint,
        at=args.at,
        inputs=inputs,
        seed=args.seed,
        picture=args.out)
    if args.format == 'json':
        rows = [panel._asdict() for panel in panels]
        for row in rows:
            del row['erf']
        print(json.dumps(dict(settings, panels=rows), indent=2))
        return 0
    print('| config | without | checkpoint | input | samples | unit (x, y) '
          '| 50 % in (%) | 95 % in (%) | rms distance (px) |')
    print('| --- | --- | --- | --- | ---: | --- | ---: | ---: | ---: |')
    for panel in panels:
        print(f'| {panel.config} | {panel.without or ""} '
              f'| {panel.checkpoint or "random weights"} '
              '| {}x{} '.format(*panel.input_size) + f'| {panel.samples} '
              '| {:g}, {:g} '.format(*panel.location) +
              f'| {panel.area_50:.2f} | {panel.area_95:.2f} '
              f'| {panel.rms_distance:.1f} |')
    print()
    for key, value in settings.items():
        print(f'- {key}: {value}')
    return 0
