"""Stages of a pipeline that run at the same time."""
import atexit
import threading
from contextlib import closing, suppress
from queue import Empty, Full, Queue
from typing import Generator, Optional, Tuple, TypeVar

Item = TypeVar('Item')

POLL = 0.1  # seconds after which a thread looks whether it is to end


class _End(Exception):
    """There are no further items."""


def run_ahead(items: Generator[Item, None, None],
              size: int) -> Generator[Item, None, None]:
    """Run a generator in a thread, ahead of who takes its items.

    OpenCV, ONNX Runtime, OpenVINO and PyAV work without Python's lock, so
    that several stages use several cores.

    Args:
        items (Generator): What to run; closed at the end, also where the
            taker stops earlier.
        size (int): Items that may wait to be taken.

    Yields:
        Any: The same items in the same order. What the generator raises is
        raised to the taker.
    """
    waiting: 'Queue[Tuple[Optional[Item], Optional[BaseException]]]'
    waiting = Queue(size)
    stopped = threading.Event()

    def offer(item: Optional[Item], error: Optional[BaseException]) -> None:
        while not stopped.is_set():
            with suppress(Full):
                waiting.put((item, error), timeout=POLL)
                break

    def run() -> None:
        try:
            with closing(items):
                for item in items:
                    offer(item, None)
                    if stopped.is_set():
                        break
            raise _End
        except BaseException as error:  # KeyboardInterrupt, too
            offer(None, error)

    def stop() -> None:
        stopped.set()
        thread.join()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    # Of a generator that is left open, before Python stops its threads.
    atexit.register(stop)
    try:
        while not stopped.is_set():
            # On Windows, a wait without an end would keep signals waiting.
            with suppress(Empty):
                item, error = waiting.get(timeout=POLL)
                if isinstance(error, _End):
                    return
                if error is not None:
                    raise error
                yield item  # type: ignore[misc]
    finally:
        atexit.unregister(stop)
        stop()
