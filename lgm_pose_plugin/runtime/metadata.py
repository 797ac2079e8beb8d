"""What a file of ``lgm-pose export`` may say; anything else is refused.

Such a file may come from anywhere: nothing in it is believed before it was
looked at. Needs the standard library alone.
"""
import json
import reprlib
from typing import Any, Dict, List, Sequence

# Raised when a reader of older files would misread newer ones.
FORMAT_VERSION = 1
# Far above what networks of people take, far below what fills a memory.
MAX_CHARACTERS = 10**6
MAX_SIDE = 4096
MAX_KEYPOINTS = 1000
MAX_KERNEL = 99


def is_int(value: Any, low: float, high: float) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _is_list(value: Any, length: int) -> bool:
    return type(value) is list and len(value) == length


def _is_size(value: Any) -> bool:
    return _is_list(value, 2) and all(is_int(x, 1, MAX_SIDE) for x in value)


def _are_numbers(value: Any, length: int, low: float) -> bool:
    return _is_list(value, length) and all(
        _is_number(x, low, 1e6) for x in value)


def _are_names(value: Any) -> bool:
    return type(value) is list and 0 < len(value) <= MAX_KEYPOINTS and all(
        type(name) is str for name in value)


def _are_pairs(value: Any, count: int) -> bool:
    return type(value) is list and len(value) <= MAX_KEYPOINTS**2 and all(
        _is_list(pair, 2) and all(is_int(i, 0, count - 1) for i in pair)
        for pair in value)


def _wrong_codec(codec: Any, size: Sequence[int]) -> List[str]:
    """What is wrong with a codec, as far as decoding here needs it."""
    if type(codec) is not dict or type(codec.get('type')) is not str:
        return ['a dictionary with a type']
    kind = codec['type']
    wrong = []
    if codec.get('input_size') != list(size):
        wrong.append(f'one with the input_size {list(size)}')
    if kind == 'SimCCLabel' and not _is_number(
            codec.get('simcc_split_ratio'), 0.01, 100):
        wrong.append('one with a simcc_split_ratio')
    if kind in ('MSRAHeatmap', 'UDPHeatmap', 'SoftmaxUDPHeatmap'):
        kernel = codec.get('blur_kernel_size')
        if not is_int(kernel, 1, MAX_KERNEL) or kernel % 2 == 0:
            wrong.append('one with an odd blur_kernel_size up to '
                         f'{MAX_KERNEL}')
    if kind == 'MSRAHeatmap' and type(codec.get('unbiased')) is not bool:
        wrong.append('one with unbiased, true or false')
    if kind == 'UDPHeatmap' and type(codec.get('heatmap_type')) is not str:
        wrong.append('one with a heatmap_type')
    if kind == 'SoftmaxUDPHeatmap' and not _is_number(
            codec.get('sigma'), 1e-3, 1e3):
        wrong.append('one with a sigma')
    return wrong


def read_metadata(text: str, file: str) -> Dict[str, Any]:
    """Read the metadata of an exported file, all of it checked.

    Args:
        text (str): What the file holds.
        file (str): The file, for messages.

    Returns:
        dict: The metadata, see docs/export.md.

    Raises:
        ValueError: If they are not those of ``lgm-pose export``.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f'{file} has {len(text):,} characters of metadata, '
                         f'more than {MAX_CHARACTERS:,}; it is not read')
    try:
        metadata = json.loads(text)
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

    def refuse(key: str, wanted: str) -> None:
        found = (reprlib.repr(metadata[key]) if key in metadata else 'nothing')
        raise ValueError(
            f'{file} has wrong metadata: {key} must be {wanted}, found '
            f'{found}. Export the network again')

    def check(key: str, right: bool, wanted: str) -> None:
        if not right:
            refuse(key, wanted)

    get = metadata.get
    for key in ('normalize', 'decode', 'bgr_to_rgb', 'use_udp',
                'shift_heatmap'):
        check(key, type(get(key)) is bool, 'true or false')
    size = get('input_size')
    check('input_size', _is_size(size),
          f'two whole numbers from 1 to {MAX_SIDE}')
    check('mean', _are_numbers(get('mean'), 3, -1e6), 'three numbers')
    check('std', _are_numbers(get('std'), 3, 1e-6), 'three numbers above 0')
    check('padding', _is_number(get('padding'), 0.01, 100),
          'a number from 0.01 to 100')
    for wanted in _wrong_codec(get('codec'), size):
        refuse('codec', wanted)
    names = get('keypoint_names')
    check('keypoint_names', _are_names(names), f'1 to {MAX_KEYPOINTS} names')
    count = len(names)
    for key in ('skeleton', 'flip_pairs'):
        check(key, _are_pairs(get(key), count), f'pairs from 0 to {count - 1}')
    flip = get('flip_indices')
    check(
        'flip_indices',
        _is_list(flip, count) and all(type(i) is int for i in flip)
        and sorted(flip) == list(range(count)),
        f'the numbers 0 to {count - 1} in some order')
    check('sigmas', _are_numbers(get('sigmas'), count, 0), f'{count} numbers')
    return metadata
