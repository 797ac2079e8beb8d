"""What a file of ``lgm-pose export`` may say; anything else is refused.

Such a file may come from anywhere, so every field is checked before it is
used. Needs the standard library alone.
"""
import json
import reprlib
from typing import Any, Callable, Dict, Iterator, Tuple

# Raised when a reader of older files would misread newer ones.
FORMAT_VERSION = 1
# Far above what networks of people take, far below what fills a memory.
MAX_CHARACTERS = 10**6
MAX_SIDE = 4096
MAX_KEYPOINTS = 1000
MAX_KERNEL = 99

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


def _fields(metadata: Dict[str, Any]) -> Iterator[Tuple[str, Any, Rule]]:
    """Names, values and rules; a rule may rely on the fields before it."""
    get = metadata.get
    for key in ('normalize', 'decode', 'bgr_to_rgb', 'use_udp',
                'shift_heatmap'):
        yield key, get(key), _BOOL
    size = get('input_size')
    yield 'input_size', size, _list(_whole(1, MAX_SIDE), 2, 2)
    yield 'mean', get('mean'), _list(_number(-1e6, 1e6), 3, 3)
    yield 'std', get('std'), _list(_number(1e-6, 1e6), 3, 3)
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


def read_metadata(text: str, file: str) -> Dict[str, Any]:
    """Read the metadata of an exported file, all of it checked.

    Args:
        text (str): What the file holds.
        file (str): The file, for messages.

    Returns:
        dict: The metadata, see docs/export.md.

    Raises:
        ValueError: If ``lgm-pose export`` did not write them.
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
            f'{file} has format version {version}, this lgm_pose_plugin '
            f'reads up to {FORMAT_VERSION}; update it')
    for name, value, (fits, wanted) in _fields(metadata):
        if not fits(value):
            raise ValueError(
                f'{file} has wrong metadata: {name} must be {wanted}, found '
                f'{reprlib.repr(value)}. Export the network again')
    return metadata
