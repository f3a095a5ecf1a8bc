"""A function over many items by an executor: results in order, few of them in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import Protocol, TypeVar

from pipeline import cluster
from pipeline.processes import Processes

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
def ordered_map(workers: int, scheduler: str | None = None) -> Iterator[OrderedMap]:
    """A map over worker processes, here or on other machines. Function and items must be picklable.

    What a worker was doing that is lost is done again, by another one.

    Args:
        workers: processes of this machine; 1: this process, and no other.
        scheduler: address of a Dask scheduler, whose workers are used instead; None: those of this machine.

    Raises:
        WorkerError: worker after worker was lost over one item, or there is none.
        ConfigError: the scheduler cannot be used.
    """
    if scheduler:
        with cluster.connected(scheduler) as (executor, size):
            yield lambda function, items: _in_order(
                executor, size * AHEAD, cluster.run, (cluster.Task(function, item) for item in items)
            )
    elif workers == 1:
        yield _here
    else:
        pool = Processes(workers)
        try:
            yield lambda function, items: _in_order(pool, workers * AHEAD, function, items)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _here(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The same without workers."""
    return map(function, items)


def _in_order(
    executor: Executor, ahead: int, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Keep `ahead` items under way and yield the oldest."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(executor.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
