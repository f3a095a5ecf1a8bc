"""Progress of long work, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from pipeline import progress

STEPS = """
from pipeline import progress
progress.say("[red]ingest[/red] begins")
assert list(progress.track(range(30), "series")) == list(range(30))
assert list(progress.track((n for n in range(2)), "files")) == [0, 1]
"""


def _run(**streams: int) -> bytes:
    done = subprocess.run([sys.executable, "-c", STEPS], stdout=subprocess.PIPE, check=True, **streams)
    return done.stdout


def test_without_a_terminal_a_step_is_one_line_on_stderr() -> None:
    lines = _run(stderr=subprocess.STDOUT).decode().splitlines()
    assert lines[0] == "[red]ingest[/red] begins"
    assert re.fullmatch(r"series: 30 done, \d+\.\d s", lines[1])
    assert re.fullmatch(r"files: 2 done, \d+\.\d s", lines[2])
    assert len(lines) == 3


def test_on_a_terminal_there_is_a_bar() -> None:
    ours, theirs = pty.openpty()
    try:
        _run(stderr=theirs)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "30/30" in shown
    assert "━" in shown


def test_slow_step_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "console", progress.Console(stderr=True, highlight=False, soft_wrap=True))
    assert list(progress.track(iter("ab"), "series", total=2)) == ["a", "b"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["series: 1 of 2, 0 s", "series: 2 of 2, 0 s"]


def test_error_of_the_items_comes_through() -> None:
    items = (1 / number for number in (1, 0))
    with pytest.raises(ZeroDivisionError):
        list(progress.track(items, "series"))
