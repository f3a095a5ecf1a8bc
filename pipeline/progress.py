"""Progress of long work: a bar on a terminal, one line per step elsewhere (a log, Prefect, CI)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

#: Seconds between two lines of one step where there is no terminal.
LINE_EVERY_S = 10.0

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One line about a step that is done or begins."""
    console.print(text, markup=False)


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, showing how many of `total` are done under `title`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if console.is_terminal:
        yield from _bar(items, title, total)
    else:
        yield from _lines(items, title, total)


def _bar(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    title_and_bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*title_and_bar, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(title, total=total)
        for item in items:
            yield item
            bar.advance(task)


def _lines(items: Iterable[T], title: str, total: int | None) -> Iterator[T]:
    begin = last = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            say(f"{title}: {count} of {total if total is not None else '?'}, {now - begin:.0f} s")
    say(f"{title}: {count} done, {time.monotonic() - begin:.1f} s")
    sys.stderr.flush()
