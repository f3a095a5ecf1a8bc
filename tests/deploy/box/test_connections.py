"""`python -m tests.acceptance.box_connections`: its verdict is of each thing that it prints."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable

import pytest

from tests.acceptance import box_connections


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_connections, "WARM_UP", 2)


def verdict(act: Callable[[], object]) -> bool:
    return box_connections.steady(os.getpid(), "calls", act, 10)


def test_what_is_answered_and_leaves_nothing_is_steady(capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict(lambda: True)
    assert "10 calls: 0 refused" in capsys.readouterr().out


def test_who_turns_everybody_away_after_the_warm_up_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([True] * 2 + [False] * 10)
    assert not verdict(lambda: next(answers))
    assert "10 calls: 10 refused" in capsys.readouterr().out


def test_nor_is_who_keeps_memory() -> None:
    kept = list[mmap.mmap]()

    def keep() -> bool:
        # Pages of its own: a list of bytes may find room in what this process once used.
        kept.append(mmap.mmap(-1, 4 * 2**20))
        kept[-1].write(os.urandom(4 * 2**20))
        return True

    assert not verdict(keep)
    for each in kept:
        each.close()


def test_nor_is_who_keeps_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_connections, "within", lambda _, condition: condition())
    stop, begun = threading.Event(), list[threading.Thread]()

    def begin() -> bool:
        begun.append(threading.Thread(target=stop.wait))
        begun[-1].start()
        return True

    assert not verdict(begin)
    stop.set()
    for each in begun:
        each.join()
