"""A function over many items by an executor: results in order, few of them in memory at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pipeline import cluster
from pipeline.processes import Processes

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items a worker that are under way or wait to be fetched; bounds the memory.
AHEAD = 2


@dataclass(frozen=True)
class Done(Generic[Result]):
    """An item that needs no work: its result, in its place."""

    result: Result


class OrderedMap(Protocol):
    """`map`, with the results in the order of the items."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item | Done[Result]]) -> Iterator[Result]:
        """Yield `function(item)` of each item, and the results of those that are done."""
        ...


@contextmanager
def ordered_map(
    workers: int, scheduler: str | None = None, here_s: float = 0.0, folder: Path | None = None
) -> Iterator[OrderedMap]:
    """A map over worker processes, here or on other machines. Function, items and results must be picklable.

    What a worker was doing that is lost is done again, by another one.

    Args:
        workers: processes of this machine; 1: this process, and no other.
        scheduler: address of a Dask scheduler, whose workers are used instead; None: those of this machine.
        here_s: seconds of work that this process does before it starts others.
        folder: that workers elsewhere must find.

    Raises:
        WorkerError: worker after worker was lost over one item, or there is none.
        ConfigError: the scheduler cannot be used.
    """
    if scheduler:
        with cluster.connected(scheduler, folder) as (executor, size):
            yield partial(_in_order, lambda *task: executor.submit(cluster.run, cluster.Task(*task)), size * AHEAD)
    elif workers == 1:
        yield _here
    else:
        pool = Processes(workers)
        try:
            yield partial(_in_order, _Submit(pool, here_s), workers * AHEAD)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _here(function: Callable[[Item], Result], items: Iterable[Item | Done[Result]]) -> Iterator[Result]:
    """The same without workers."""
    return (item.result if isinstance(item, Done) else function(item) for item in items)


def _in_order(
    submit: Callable[[Callable[[Item], Result], Item], Future[Result]],
    ahead: int,
    function: Callable[[Item], Result],
    items: Iterable[Item | Done[Result]],
) -> Iterator[Result]:
    """Keep `ahead` items under way and yield the oldest."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(_finished(item.result) if isinstance(item, Done) else submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Submit:
    """Submits to an executor once this process has worked for some seconds."""

    def __init__(self, executor: Executor, here_s: float) -> None:
        self._executor, self._left_s = executor, here_s

    def __call__(self, function: Callable[[Any], Result], item: Any) -> Future[Result]:
        if self._left_s <= 0:
            return self._executor.submit(function, item)
        begin = time.monotonic()
        future = _finished(function(item))
        self._left_s -= time.monotonic() - begin
        return future


def _finished(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future
