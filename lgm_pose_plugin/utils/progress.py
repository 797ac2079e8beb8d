"""Runs over many files: bar, failures by name, and an orderly stop."""
import signal
import sys
import time
from typing import Any, Dict, Iterable, Optional, TypeVar

try:
    from tqdm import tqdm
except ImportError:  # not among MMPose's dependencies
    tqdm = None

Item = TypeVar('Item')


def with_bar(items: Iterable[Item], unit: str = 'image') -> Iterable[Item]:
    """Items with a bar of how many are done.

    The bar is shown on stderr if that is a terminal and tqdm is installed;
    MMEngine's would write a line for each item into a log.

    Args:
        items (Iterable): The items.
        unit (str): What one of them is. Defaults to ``'image'``.

    Returns:
        Iterable: The same items.
    """
    return tqdm(items, unit=unit, disable=None) if tqdm else items


class Progress:
    """Context of a run over many files.

    Ctrl-C (SIGINT), SIGTERM and the end of the terminal (SIGHUP, unless it is
    ignored, as under nohup) set ``stopped``, so that the run can end after the
    image at hand; a second one raises ``KeyboardInterrupt``. The bar is
    shown on stderr if that is a terminal and tqdm is installed.

    Args:
        total (int, optional): Number of images, ``None`` if unknown.

    Attributes:
        stopped (int, optional): ``None`` to go on, else the signal that came
            or 0.
        done (int): Number of images that are done.
        failures (int): Number of failures.
    """

    def __init__(self, total: Optional[int]):
        self.stopped: Optional[int] = None
        self.done = 0
        self.failures = 0
        self._start = time.perf_counter()
        self._bar = tqdm and tqdm(total=total, unit='image', disable=None)
        self._handlers: Dict[int, Any] = {}

    def __enter__(self) -> 'Progress':
        numbers = [signal.SIGINT, signal.SIGTERM]
        hang_up = getattr(signal, 'SIGHUP', None)  # not on Windows
        if hang_up and signal.getsignal(hang_up) == signal.SIG_DFL:
            numbers.append(hang_up)
        for number in numbers:
            self._handlers[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._bar is not None:
            self._bar.close()

    def _stop(self, number: int, _: Any) -> None:
        if self.stopped is not None:
            raise KeyboardInterrupt
        self.stopped = number

    def stop(self) -> None:
        """End the run after the image at hand, as a success."""
        self.stopped = 0

    def advance(self) -> None:
        """Count an image that is done."""
        self.done += 1
        if self._bar is not None:
            self._bar.update()

    def note(self, text: str) -> None:
        """Report on stderr what is not a failure.

        Args:
            text (str): What to tell.
        """
        write = tqdm.write if tqdm else print
        write(text, file=sys.stderr)

    def fail(self, problem: str) -> None:
        """Report a failure on stderr.

        Args:
            problem (str): What failed, with its name.
        """
        self.failures += 1
        self.note(problem)

    def exit_status(self) -> int:
        """Say on stderr how the run ended.

        Returns:
            int: 0, 1 if anything failed, or 128 and the number of the signal
            that stopped it, 130 for Ctrl-C.
        """
        per_second = self.done / (time.perf_counter() - self._start)
        print(
            f'{self.done} images, {per_second:.1f} per second' +
            (', stopped' if self.stopped else '') +
            (f'; {self.failures} failed, see above' if self.failures else ''),
            file=sys.stderr)
        if self.stopped:
            return 128 + self.stopped
        return 1 if self.failures else 0
