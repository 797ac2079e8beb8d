"""What a file of ``lgm-pose export`` may say; anything else is refused.

Such a file may come from anywhere: nothing in it is believed before it was
looked at. Needs the standard library alone.
"""
import json
import reprlib
from typing import Any, Dict, Iterator, List, Sequence, Tuple

# Raised when a reader of older files would misread newer ones.
FORMAT_VERSION = 1

# Far above what networks of people take, far below what fills a memory.
MAX_CHARACTERS = 10**6
MAX_SIDE = 4096
MAX_KEYPOINTS = 1000
MAX_KERNEL = 99

# Fields of ONNX's messages that lead to tensors, by message and number; see
# onnx.proto.
_ONNX = dict(
    model={
        7: 'graph',
        20: 'training',
        25: 'function'
    },
    graph={
        1: 'node',
        5: 'tensor',
        15: 'sparse'
    },
    training={
        1: 'graph',
        2: 'graph'
    },
    function={
        7: 'node',
        11: 'attribute'
    },
    node={5: 'attribute'},
    attribute={
        5: 'tensor',
        6: 'graph',
        10: 'tensor',
        11: 'graph',
        22: 'sparse',
        23: 'sparse'
    },
    sparse={
        1: 'tensor',
        2: 'tensor'
    })
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
# Of a model the graph's inputs, of these the type's tensor's shape.
_INPUT_SHAPES = 7, 11, 2, 1, 2


def check_onnx(file: str, max_batch: int) -> None:
    """Refuse an ONNX file that leads to other files or to a huge batch.

    ``lgm-pose export`` writes neither: a path in a file from a stranger may
    lead anywhere, and runtimes fill the memory while they open the network.

    Args:
        file (str): The ONNX file.
        max_batch (int): The largest batch size it may fix.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it names other files, fixes a larger batch, is
            truncated or no ONNX file.
    """
    with open(file, 'rb') as opened:
        data = memoryview(opened.read())
    try:
        external = _names_files(data, 'model')
        batches = [
            batch for shape in _at(data, *_INPUT_SHAPES)
            for dim in list(_at(shape, 1))[:1] for batch in _at(dim, 1)
        ]
    except (IndexError, RecursionError, ValueError) as error:
        raise ValueError(f'{file} is no ONNX file, or truncated ({error}); '
                         'copy or export it again') from error
    if external:
        raise ValueError(
            f'{file} keeps tensors in other files, which `lgm-pose export` '
            'does not; it is not read. Export the network again')
    for batch in batches:
        if not _is_int(batch, 1, max_batch):
            raise ValueError(f'{file} takes {batch} crops at once, which '
                             f'cannot be (1 to {max_batch}); export it again')


def _names_files(data: memoryview, message: str) -> bool:
    """Whether a message of ONNX holds a tensor that lies in another file."""
    for number, value in _fields(data):
        if message == 'tensor':
            if number == _EXTERNAL_DATA or number == _DATA_LOCATION and value:
                return True
        elif number in _ONNX[message]:
            if not isinstance(value, memoryview):
                raise ValueError(f'a {message} with a broken field')
            if _names_files(value, _ONNX[message][number]):
                return True
    return False


def _at(data: Any, number: int, *numbers: int) -> Iterator[Any]:
    """Values of a field of a protobuf message, or of fields of theirs."""
    if not isinstance(data, memoryview):
        raise ValueError('an input with a broken type')
    for found, value in _fields(data):
        if found == number:
            if numbers:
                yield from _at(value, *numbers)
            else:
                yield value


def _fields(data: memoryview) -> Iterator[Tuple[int, Any]]:
    """Numbers and values (bytes or an integer) of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        # Runtimes would take the lower bits for the number of another field.
        if key >> 32:
            raise ValueError('a field with a number that is too large')
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
        else:
            if kind not in (1, 2, 5):
                raise ValueError(f'wire type {kind}')
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                size, at = _varint(data, at)
            value, at = data[at:at + size], at + size
        if at > len(data):
            raise ValueError('it ends within a field')
        yield number, value


def _varint(data: memoryview, at: int) -> Tuple[int, int]:
    """An integer of a protobuf message, and where it ends."""
    value = shift = 0
    while shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError('an integer without an end')


def _is_int(value: Any, low: float, high: float) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _is_list(value: Any, length: int) -> bool:
    return type(value) is list and len(value) == length


def _is_size(value: Any) -> bool:
    return _is_list(value, 2) and all(_is_int(x, 1, MAX_SIDE) for x in value)


def _are_numbers(value: Any, length: int, low: float) -> bool:
    return _is_list(value, length) and all(
        _is_number(x, low, 1e6) for x in value)


def _are_names(value: Any) -> bool:
    return type(value) is list and 0 < len(value) <= MAX_KEYPOINTS and all(
        type(name) is str for name in value)


def _are_pairs(value: Any, count: int) -> bool:
    return type(value) is list and len(value) <= MAX_KEYPOINTS**2 and all(
        _is_list(pair, 2) and all(_is_int(i, 0, count - 1) for i in pair)
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
        if not _is_int(kernel, 1, MAX_KERNEL) or kernel % 2 == 0:
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
        if not _is_int(version, 1, 10**6):
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
