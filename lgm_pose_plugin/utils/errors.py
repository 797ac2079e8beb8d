"""Tell in one line what went wrong."""
import textwrap
from contextlib import contextmanager
from typing import Iterator

__all__ = ['describe_error', 'explain_errors']


def describe_error(error: BaseException) -> str:
    """Tell what was raised in one line.

    Args:
        error (BaseException): What was raised.

    Returns:
        str: Its type and at most some 400 letters of its text.
    """
    return textwrap.shorten(f'{type(error).__name__}: {error}', 400)


@contextmanager
def explain_errors(text: str) -> Iterator[None]:
    """Turn whatever a block raises into a ``ValueError``.

    For code that may raise anything, as configs and what is built of them.

    Args:
        text (str): What the error means.

    Raises:
        ValueError: If the block raises; the text and what was raised.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f'{text}: {describe_error(error)}') from error
