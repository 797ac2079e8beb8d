"""Check an ONNX file before a runtime opens it.

Needs the standard library alone.
"""
from typing import Any, Dict, Iterator, Optional, Set, Tuple

from .metadata import is_int

# What leads to tensors in ONNX's messages, and the numbers of such fields; see
# onnx.proto.
_ONNX: Dict[str, Dict[str, Tuple[int, ...]]] = dict(
    model=dict(graph=(7, ), training=(20, ), function=(25, )),
    graph=dict(node=(1, ), tensor=(5, ), sparse=(15, )),
    training=dict(graph=(1, 2)),
    function=dict(node=(7, ), attribute=(11, )),
    node=dict(attribute=(5, )),
    attribute=dict(tensor=(5, 10), graph=(6, 11), sparse=(22, 23)),
    sparse=dict(tensor=(1, 2)))
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
# Of a model the graph's inputs, of these the type's tensor's shape.
_INPUT_SHAPES = 7, 11, 2, 1, 2
# Of a model the graph; of a graph the inputs' names and the nodes; of a node
# the inputs and the operator.
_GRAPH, _INPUT_NAME, _NODE, _NODE_INPUT, _OPERATOR = 7, (11, 1), 1, 1, 4
# Of a model the properties; of a property key and value.
_PROPERTY, _PROPERTY_KEY, _PROPERTY_VALUE = 14, 1, 2


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
            truncated or not an ONNX file.
    """
    with open(file, 'rb') as opened:
        data = memoryview(opened.read())
    try:
        external = _names_files(data, 'model')
        batches = [
            batch for shape in _at(data, *_INPUT_SHAPES)
            for dim in list(_at(shape, 1))[:1] for batch in _at(dim, 1)
        ]
    # The third where an integer stands for a message.
    except (IndexError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f'{file} is not an ONNX file, or truncated ({error}); '
            'copy or export it again') from error
    if external:
        raise ValueError(
            f'{file} keeps tensors in other files, which `lgm-pose export` '
            'does not; it is not read. Export the network again')
    for batch in batches:
        if not is_int(batch, 1, max_batch):
            raise ValueError(f'{file} takes {batch} crops at once; 1 to '
                             f'{max_batch} are possible. Export it again')


def input_operators(file: str) -> Set[str]:
    """Find what operators read an ONNX file's first input.

    Args:
        file (str): The ONNX file.

    Returns:
        set[str]: Their names, as ``{'Conv'}``.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not as :func:`check_onnx` wants it.
    """
    with open(file, 'rb') as opened:
        data = memoryview(opened.read())
    try:
        graph = next(_at(data, _GRAPH))
        name = next(_at(graph, *_INPUT_NAME))
        return {
            bytes(operator).decode()
            for node in _at(graph, _NODE) if name in _at(node, _NODE_INPUT)
            for operator in _at(node, _OPERATOR)
        }
    except (IndexError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f'{file} is not an ONNX file: {error!r}') from error


def read_property(file: str, key: str) -> Optional[str]:
    """Read a property of an ONNX file without a runtime.

    Args:
        file (str): The ONNX file.
        key (str): Name of the property.

    Returns:
        str, optional: Its value, ``None`` if the file has no such property.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is truncated or not an ONNX file.
    """
    with open(file, 'rb') as opened:
        data = memoryview(opened.read())
    try:
        for one in _at(data, _PROPERTY):
            if bytes(next(_at(one, _PROPERTY_KEY))).decode() == key:
                return bytes(next(_at(one, _PROPERTY_VALUE))).decode()
    except (IndexError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f'{file} is not an ONNX file, or truncated '
                         f'({error}); copy or export it again') from error
    return None


def _names_files(data: memoryview, message: str) -> bool:
    """Whether a message of ONNX holds a tensor that lies in another file."""
    for number, value in _fields(data):
        if message == 'tensor':
            if number == _EXTERNAL_DATA or number == _DATA_LOCATION and value:
                return True
        elif any(
                number in numbers and _names_files(value, inner)
                for inner, numbers in _ONNX[message].items()):
            return True
    return False


def _at(data: Any, number: int, *numbers: int) -> Iterator[Any]:
    """Values of a field of a protobuf message, or of fields of theirs."""
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
        if kind not in (0, 1, 2, 5):
            raise ValueError(f'wire type {kind}')
        # Of a fixed size, else the value itself or the size of what follows.
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            size, at = _varint(data, at)
        value: Any = size
        if kind:
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
