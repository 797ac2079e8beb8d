"""Arguments that several sub-commands share."""
import argparse
from typing import Any, Dict, Optional, Sequence, Tuple

CONFIG = (
    'path of a top-down config, mmpose::body_2d_keypoint/..., a model of '
    '`mim search lgm_pose_plugin` or a short name of `lgm-pose '
    'benchmark`')


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps line breaks and adds the defaults."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ''
        default = action.default
        if type(default) in (int, float, str) and 'default' not in text and (
                default != argparse.SUPPRESS):
            text += ' (default: %(default)s)'
        return text


def size(text: str) -> Tuple[int, int]:
    """Read two numbers.

    Args:
        text (str): As ``'256x192'``.

    Returns:
        tuple[int, int]: The numbers.

    Raises:
        ValueError: If it is something else.
    """
    first, second = text.split('x')
    return int(first), int(second)


def add_flag(parser: argparse._ActionsContainer, name: str, help: str) -> None:
    """Add an option without a value.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser, or a group
            of its arguments.
        name (str): As ``'--int8'``.
        help (str): What to say of it.
    """
    parser.add_argument(name, action='store_true', help=help)


def add_number(parser: argparse._ActionsContainer,
               name: str,
               default: Optional[float],
               help: str,
               metavar: str = 'N') -> None:
    """Add an option that takes a number.

    Args:
        parser (argparse.ArgumentParser): See :func:`add_flag`.
        name (str): As ``'--seed'``.
        default (float, optional): The default. If it is a float, the option
            takes one, else an int.
        help (str): What to say of it.
        metavar (str): What to call the number. Defaults to ``'N'``.
    """
    parser.add_argument(
        name,
        type=float if isinstance(default, float) else int,
        default=default,
        metavar=metavar,
        help=help)


def add_file(parser: argparse._ActionsContainer, names: str, help: str,
             **kwargs: Any) -> None:
    """Add an option that takes a file.

    Args:
        parser (argparse.ArgumentParser): See :func:`add_flag`.
        names (str): As ``'-o --out'``.
        help (str): What to say of it.
        **kwargs: Further arguments of ``add_argument``.
    """
    parser.add_argument(*names.split(), metavar='FILE', help=help, **kwargs)


def add_config(parser: argparse.ArgumentParser, weights: str) -> None:
    """Add ``CONFIG`` and ``CHECKPOINT``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
        weights (str): What to say of the checkpoint.
    """
    parser.add_argument('config', metavar='CONFIG', help=CONFIG)
    parser.add_argument(
        'checkpoint', metavar='CHECKPOINT', nargs='?', help=weights)


def add_inputs(parser: argparse.ArgumentParser, images: str,
               dataset: str) -> None:
    """Add ``--images`` and ``--dataset``, which exclude each other.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
        images (str): What to say of the first.
        dataset (str): What to say of the second.
    """
    inputs = parser.add_mutually_exclusive_group()
    inputs.add_argument(
        '--images', nargs='+', default=[], metavar='PATH', help=images)
    add_flag(inputs, '--dataset', dataset)


def add_format(parser: argparse.ArgumentParser,
               *formats: str,
               help: str = 'of what is printed') -> None:
    """Add ``--format``.

    Args:
        parser (argparse.ArgumentParser): The sub-command's parser.
        *formats (str): The choices; the first is the default.
        help (str): What to say of it.
    """
    parser.add_argument(
        '--format', choices=formats, default=formats[0], help=help)


def add_cfg_options(parser: argparse._ActionsContainer, help: str) -> None:
    """Add ``--cfg-options`` as MMPose's tools have it.

    Args:
        parser (argparse.ArgumentParser): See :func:`add_flag`.
        help (str): What to say of it.
    """
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help=help)


def parse_cfg_options(options: Sequence[str]) -> Dict[str, Any]:
    """Read the values of ``--cfg-options``.

    Args:
        options (Sequence[str]): As ``['a.b=1']``.

    Returns:
        dict: As ``{'a.b': 1}``, for ``Config.merge_from_dict``.

    Raises:
        ValueError: If an option is not KEY=VALUE.
    """
    from mmengine.config import DictAction
    for option in options:
        if '=' not in option:
            raise ValueError(f'--cfg-options takes KEY=VALUE, got {option}')
    namespace = argparse.Namespace()
    DictAction([], 'cfg')(None, namespace, options)
    return dict(namespace.cfg)


def add_cat_ids(parser: argparse._ActionsContainer) -> None:
    """Add ``--det-cat-ids``.

    Args:
        parser (argparse.ArgumentParser): See :func:`add_flag`.
    """
    parser.add_argument(
        '--det-cat-ids',
        type=int,
        nargs='+',
        metavar='N',
        help='classes of the detector to take, from 0 (default: the one '
        'called person, of files that name none the first)')


def add_detector(parser: argparse._ActionsContainer,
                 default: Optional[str] = None,
                 whole: str = '',
                 score_thr: float = 0.3,
                 nms_thr: Optional[float] = 0.3) -> None:
    """Add the arguments that choose a detector, and ``--ann-file``.

    Args:
        parser (argparse.ArgumentParser): See :func:`add_flag`.
        default (str, optional): Default of ``--detector``.
        whole (str): What to say of a further choice, ``whole``. Defaults to
            none.
        score_thr (float): Default of ``--bbox-thr``. Defaults to 0.3, as in
            MMPose's inferencers.
        nms_thr (float, optional): Default of ``--nms-thr``. Defaults to 0.3,
            as there.
    """
    parser.add_argument(
        '--detector',
        default=default,
        metavar='auto|FILE|NAME' + ('|whole' if whole else ''),
        help='what finds the people. auto: the default of MMPose, downloaded '
        'and exported once; FILE: of `lgm-pose export` (.onnx or .xml) or one '
        'that rtmlib runs; NAME: a model of MMDetection, as rtmdet-m, or a '
        'config, as mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py' + whole)
    add_file(parser, '--det-checkpoint', 'weights of a config')
    add_cat_ids(parser)
    add_number(parser, '--bbox-thr', score_thr,
               'leave out boxes with at most this score', 'SCORE')
    parser.add_argument(
        '--nms-thr',
        type=float,
        default=nms_thr,
        metavar='IOU',
        help='of two boxes of a detector that overlap by more, keep one '
        '(default: ' + (f'{nms_thr})' if nms_thr else 'as the detector)'))
    parser.add_argument(
        '--device',
        help='what computes, as cuda:0; for exported files also tensorrt, '
        'coreml, directml or openvino:GPU (default: the CPU for files, for '
        'checkpoints a GPU if there is one)')
    add_file(parser, '--ann-file',
             'COCO annotation file that gives the ids of the pictures')
