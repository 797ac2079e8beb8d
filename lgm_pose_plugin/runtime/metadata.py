"""What a file of ``lgm-pose export`` may say; anything else is refused.

Such a file may come from anywhere, so every field is checked before it is
used. Needs the standard library alone.
"""
import json
import reprlib
from typing import Any, Callable, Dict, Iterator, Tuple

# Raised when a reader of older files would misread newer ones. Files of
# version 1 without decoding hold the logits of SoftmaxUDPHeatmap.
FORMAT_VERSION = 2
# Far above what networks of people take, far below what fills a memory.
MAX_CHARACTERS = 10**6
MAX_SIDE = 4096
MAX_KEYPOINTS = 1000
MAX_KERNEL = 99
MAX_CLASSES = 10000
MAX_BOXES = 10**5

# Whether a value fits, and what would fit.
Rule = Tuple[Callable[[Any], bool], str]


def is_int(value: Any, low: float, high: float) -> bool:
    """Whether a value is an integer, and no bool, from low to high."""
    return type(value) is int and low <= value <= high


def _whole(low: int, high: int) -> Rule:
    return (lambda value: is_int(value, low, high),
            f'a whole number from {low} to {high}')


def _number(low: float, high: float) -> Rule:
    return (lambda value: type(value) in (int, float) and low <= value <= high,
            f'a number from {low:g} to {high:g}')


def _list(rule: Rule, low: int, high: int) -> Rule:
    fits, wanted = rule
    length = f'{low}' if low == high else f'{low} to {high}'
    return (lambda value: type(value) is list and low <= len(value) <= high and
            all(map(fits, value)), f'a list of {length}, each {wanted}')


_BOOL: Rule = (lambda value: type(value) is bool, 'true or false')
_TEXT: Rule = (lambda value: type(value) is str, 'a text')
_ODD: Rule = (lambda value: is_int(value, 1, MAX_KERNEL) and value % 2 == 1,
              f'an odd number up to {MAX_KERNEL}')
# As far as decoding here needs them.
_CODECS: Dict[str, Dict[str, Rule]] = dict(
    SimCCLabel=dict(simcc_split_ratio=_number(0.01, 100)),
    MSRAHeatmap=dict(blur_kernel_size=_ODD, unbiased=_BOOL),
    UDPHeatmap=dict(blur_kernel_size=_ODD, heatmap_type=_TEXT),
    SoftmaxUDPHeatmap=dict(blur_kernel_size=_ODD, sigma=_number(1e-3, 1e3)))


def _input_fields(metadata: Dict[str, Any]) -> Iterator[Tuple[str, Any, Rule]]:
    """Names, values and rules of what all files say of their input."""
    get = metadata.get
    for key in ('normalize', 'bgr_to_rgb'):
        yield key, get(key), _BOOL
    yield 'input_size', get('input_size'), _list(_whole(1, MAX_SIDE), 2, 2)
    yield 'mean', get('mean'), _list(_number(-1e6, 1e6), 3, 3)
    yield 'std', get('std'), _list(_number(1e-6, 1e6), 3, 3)


def _detector_fields(
        metadata: Dict[str, Any]) -> Iterator[Tuple[str, Any, Rule]]:
    """As :func:`_pose_fields`, of person detectors."""
    get = metadata.get
    yield from _input_fields(metadata)
    yield 'pad_value', get('pad_value'), _list(_whole(0, 255), 3, 3)
    yield 'classes', get('classes'), _list(_TEXT, 1, MAX_CLASSES)
    yield 'max_boxes', get('max_boxes'), _whole(1, MAX_BOXES)
    for key in ('score_thr', 'nms_thr'):
        yield key, get(key), _number(0, 1)


def _pose_fields(metadata: Dict[str, Any]) -> Iterator[Tuple[str, Any, Rule]]:
    """Names, values and rules; a rule may rely on the fields before it."""
    get = metadata.get
    yield from _input_fields(metadata)
    for key in ('decode', 'use_udp', 'shift_heatmap'):
        yield key, get(key), _BOOL
    size = get('input_size')
    yield 'padding', get('padding'), _number(0.01, 100)
    codec: Any = get('codec')
    yield 'codec', codec, (
        lambda value: type(value) is dict and type(value.get('type')) is str,
        'a dictionary with a type')
    yield 'codec.input_size', codec.get('input_size'), (
        lambda value: bool(value == size), f'{size}')
    for key, rule in _CODECS.get(codec['type'], {}).items():
        yield f'codec.{key}', codec.get(key), rule
    names: Any = get('keypoint_names')
    yield 'keypoint_names', names, _list(_TEXT, 1, MAX_KEYPOINTS)
    count = len(names)
    index = _whole(0, count - 1)
    for key in ('skeleton', 'flip_pairs'):
        yield key, get(key), _list(_list(index, 2, 2), 0, MAX_KEYPOINTS**2)
    flip: Any = get('flip_indices')
    yield 'flip_indices', flip, _list(index, count, count)
    yield 'flip_indices', flip, (lambda value: len(set(value)) == count,
                                 f'the numbers 0 to {count - 1} in some order')
    yield 'sigmas', get('sigmas'), _list(_number(0, 1e6), count, count)


# What the file of a task computes, and its fields. Pose files name no task.
_TASKS = dict(
    pose=('key points, which --model takes', _pose_fields),
    detection=('boxes of people, which --detector takes', _detector_fields))


def read_metadata(text: str, file: str, task: str = 'pose') -> Dict[str, Any]:
    """Read the metadata of an exported file, all of it checked.

    Args:
        text (str): What the file holds.
        file (str): The file, for messages.
        task (str): What the file is to be used for, ``'pose'`` or
            ``'detection'``. Defaults to ``'pose'``.

    Returns:
        dict: The metadata, see docs/export.md.

    Raises:
        ValueError: If ``lgm-pose export`` did not write them, or the file is
            for another task.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f'{file} has {len(text):,} characters of metadata, '
                         f'more than {MAX_CHARACTERS:,}; it is not read')
    try:
        metadata: Dict[str, Any] = json.loads(text)
        version = metadata['format_version']
        if not is_int(version, 1, 10**6):
            raise ValueError(f'format_version is {reprlib.repr(version)}')
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f'{file} holds metadata that cannot be read '
                         f'({error!r}); export the network again') from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f'{file} has format version {version}, but this lgm_pose_plugin '
            f'reads up to {FORMAT_VERSION}. Update lgm_pose_plugin')
    found = metadata.get('task', 'pose')
    if found not in tuple(_TASKS):  # which may be of any type
        raise ValueError(f'{file} has wrong metadata: task must be '
                         f'{" or ".join(_TASKS)}, found '
                         f'{reprlib.repr(found)}. Export the network again')
    if found != task:
        raise ValueError(f'{file} computes {_TASKS[found][0]}; this needs a '
                         f'file that computes {_TASKS[task][0]}')
    for name, value, (fits, wanted) in _TASKS[task][1](metadata):
        if not fits(value):
            raise ValueError(
                f'{file} has wrong metadata: {name} must be {wanted}, found '
                f'{reprlib.repr(value)}. Export the network again')
    return metadata
