"""Reading, checking and writing one file side by side: most of each runs outside the interpreter's lock.

Order, results and refusals are those of one after the other; at most one finished piece waits between two stages, so
that memory stays flat whatever the size of the file.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_LOOK_EVERY_SECONDS = 0.1


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made while the one before it is used. What the maker raises is raised in its place."""
    waiting: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(maxsize=1)
    is_stopped = threading.Event()

    def hand_over(is_last: bool, item: T | BaseException | None) -> None:
        while not is_stopped.is_set():
            try:
                waiting.put((is_last, item), timeout=_LOOK_EVERY_SECONDS)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                hand_over(False, item)
                if is_stopped.is_set():
                    return
            hand_over(True, None)
        except BaseException as error:  # handed to whoever asks next
            hand_over(True, error)

    maker = threading.Thread(target=make, name="reading", daemon=True)
    maker.start()
    try:
        while True:
            is_last, item = waiting.get()
            if isinstance(item, BaseException):
                raise item
            if is_last:
                return
            yield item  # type: ignore[misc]  # only the last is None
            item = None  # the next piece is not to wait for this one's memory
    finally:
        is_stopped.set()
        maker.join()


@contextmanager
def behind(work: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """A function that does ``work`` while its caller goes on; a failure shows at the next call, or at the end."""
    last: list[Future[None]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="writing") as pool:

        def call(*arguments: object) -> None:
            if last:
                last.pop().result()
            last.append(pool.submit(work, *arguments))

        yield call
        if last:
            last.pop().result()
