"""Files that are replaced whole or left as they were."""
import json
import os
import os.path as osp
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Iterator, Optional, Sequence
from uuid import uuid4


def check_out_file(path: str) -> None:
    """Check that a file can be written, before the work is done.

    Args:
        path (str): Its path.

    Raises:
        FileNotFoundError: If its folder does not exist.
        ValueError: If it is a folder or device, or cannot be written.
    """
    place = osp.realpath(path) if osp.islink(path) else path
    folder = osp.dirname(place) or os.curdir
    if not osp.isdir(folder):
        raise FileNotFoundError(
            f'there is no folder {folder}; make it or choose another place')
    if osp.exists(path) and not osp.isfile(path):
        raise ValueError(f'cannot write {path}: it is a folder or a device; '
                         'choose another place')
    check_out_dir(folder)


def check_out_dir(path: str) -> None:
    """Check that files can be written in a folder, before the work is done.

    Args:
        path (str): The folder, which need not exist.

    Raises:
        ValueError: If it cannot be made or written in.
    """
    # Up to a drive that is not there, on Windows.
    while not osp.lexists(path) and osp.dirname(path) != path:
        path = osp.dirname(path) or os.curdir
    if not (osp.isdir(path) and os.access(path, os.W_OK | os.X_OK)):
        raise ValueError(f'cannot write in {path}; choose another place')


def check_inputs_kept(outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Check that nothing is written over what is read.

    Args:
        outputs (Sequence[str]): Files to write.
        inputs (Sequence[str]): Files that are read.

    Raises:
        ValueError: If a file is both.
    """
    read = {osp.realpath(path) for path in inputs}
    for path in outputs:
        if osp.realpath(path) in read:
            raise ValueError(f'{path} is read, and a result would replace it; '
                             'choose another place for results')


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Write a file beside its place, move it there at the end.

    Args:
        path (str): The file, or a link to it. Its folder is made if there is
            none.

    Yields:
        str: The path to write to, of the same suffix. On an error it is
        removed and ``path`` stays as it was.
    """
    path = osp.realpath(path)
    folder, suffix = osp.dirname(path), osp.splitext(path)[1]
    # Short, since the name itself may be as long as names can be.
    temporary = osp.join(folder, f'.partial-{uuid4().hex}{suffix}')
    os.makedirs(folder, exist_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if osp.exists(temporary):
            os.remove(temporary)


def read_json(path: str) -> Any:
    """Read a JSON file in UTF-8, with or without a mark, UTF-16 or UTF-32.

    Args:
        path (str): The file.

    Returns:
        Any: Of JSON's types.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not JSON.
    """
    with open(path, 'rb') as file:
        data = file.read()
    try:
        return json.loads(data)
    except (RecursionError, ValueError) as error:
        raise ValueError(f'{path} cannot be read as JSON: {error}') from error


def write_json(path: str, data: Any, indent: Any = None) -> None:
    """Write a JSON file and the folders it lies in.

    Args:
        path (str): The file.
        data (Any): Of JSON's types.
        indent (int | str, optional): As in ``json.dump``.
    """
    with replacing(path) as temporary:
        with open(temporary, 'w', encoding='utf-8') as file:
            json.dump(data, file, indent=indent)


class TextFile:
    """A text file that is written as a run goes.

    It gets its name when it is closed, unless something could not be written.

    Args:
        path (str): The file. Its folder is made if there is none.
    """

    def __init__(self, path: str):
        self._path, self._whole = path, True
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(path))
            # The csv module ends lines by itself.
            self._file = stack.enter_context(
                open(temporary, 'w', encoding='utf-8', newline=''))
            self._context = stack.pop_all()

    def write(self, text: str) -> None:
        """Append.

        Args:
            text (str): What to write.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
        """
        try:
            self._file.write(text)
        except (OSError, ValueError) as error:  # the latter once it is closed
            self._whole = False
            with suppress(OSError):
                self._context.__exit__(*sys.exc_info())
            raise self._explain(error) from error

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: If it cannot be written; nothing of it stays.
        """
        try:
            self._context.close()
        except OSError as error:
            raise self._explain(error) from error

    @property
    def whole(self) -> bool:
        """bool: Whether all could be written so far."""
        return self._whole

    def _explain(self, error: Exception) -> OSError:
        return OSError(f'{self._path} could not be written whole; is the disk '
                       f'full? ({error})')


class JsonListWriter:
    """A JSON file of a list that gets its name when it is closed.

    What ``write_json`` makes of the list, without holding it in memory.

    Args:
        path (str): The file.
        indent (str, optional): As in ``json.dump``. Defaults to none: an item
            a line.
        opening (str): What stands before the items. Defaults to ``'['``.
        lazy (bool): Whether there is no file without items. Defaults to
            ``False``.
    """

    def __init__(self,
                 path: str,
                 indent: Optional[str] = None,
                 opening: str = '[',
                 lazy: bool = False):
        self._path, self._indent, self._next = path, indent, opening
        self._file = None if lazy else TextFile(path)

    def write(self, item: Any) -> None:
        """Append an item.

        Args:
            item (Any): Of JSON's types.

        Raises:
            OSError: If the file cannot be written; nothing of it stays.
        """
        if self._file is None:
            self._file = TextFile(self._path)
        # JSON has no line breaks but those of its layout.
        text = json.dumps(item, indent=self._indent)
        start = '\n' + (self._indent or '')
        self._file.write(self._next + start + text.replace('\n', start))
        self._next = ','

    def close(self, closing: str = ']') -> None:
        """Finish the file.

        Args:
            closing (str): What stands after the items. Defaults to ``']'``.

        Raises:
            OSError: If it cannot be written; nothing of it stays.
        """
        if self._file is None or not self._file.whole:
            return
        # Without items, what stands before them.
        start = '\n' if self._next == ',' else self._next
        try:
            self._file.write(start + closing)
        finally:
            self._file.close()
            self._file = None


IMAGE_SUFFIXES = ('.avif', '.bmp', '.jfif', '.jp2', '.jpe', '.jpeg', '.jpg',
                  '.png', '.tif', '.tiff', '.webp')
