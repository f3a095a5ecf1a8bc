"""A function over many items in worker processes: results in order, few of them in memory at a time."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar

from pipeline.errors import WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items a worker that are under way or wait to be fetched; bounds the memory.
AHEAD = 2


class OrderedMap(Protocol):
    """`map`, with the results in the order of the items."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `function(item)` of each item."""
        ...


@contextmanager
def ordered_map(workers: int) -> Iterator[OrderedMap]:
    """A map over `workers` processes; in this process if there is but one. Function and items must be picklable.

    Processes are spawned, not forked: a fork beside the threads of a progress bar or an inference runtime can hang.

    Raises:
        WorkerError: a worker was killed.
    """
    if workers == 1:
        yield here
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent) as pool:
        try:
            yield lambda function, items: _in_order(pool, workers * AHEAD, function, items)
        except BrokenProcessPool as error:
            raise WorkerError(
                "worker processes that live", "one that was killed, as a rule for want of memory", "Use fewer workers."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def here(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The same without processes."""
    return map(function, items)


def _in_order(
    pool: ProcessPoolExecutor, ahead: int, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Keep `ahead` items under way and yield the oldest."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _die_with_parent() -> None:
    """End this worker when the process that started it is gone; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
