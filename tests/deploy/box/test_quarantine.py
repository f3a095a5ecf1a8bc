"""What was refused stays for a look at it, and no more of it than was allowed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.box.quarantine import Quarantine


def held(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["reason"] for path in folder.glob("*.json"))


def test_content_stands_beside_its_reason(tmp_path: Path) -> None:
    Quarantine(tmp_path, 100).add(b"bytes", "no StudyInstanceUID")
    (reason,) = tmp_path.glob("*.json")
    assert json.loads(reason.read_text())["reason"] == "no StudyInstanceUID"
    assert reason.with_suffix(".received").read_bytes() == b"bytes"


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, 100)
    for number in range(5):
        quarantine.add(bytes(40), str(number))
    assert held(tmp_path) == ["3", "4"]
    assert len(list(tmp_path.glob("*.received"))) == 2


def test_of_what_is_larger_than_all_of_it_the_beginning_is_kept(tmp_path: Path) -> None:
    Quarantine(tmp_path, 100).add(b"DICM" + bytes(1_000), "too much")
    (content,) = tmp_path.glob("*.received")
    assert content.read_bytes() == b"DICM" + bytes(96)


def test_what_was_refused_before_a_time_goes_with_what_a_stop_left_of_it(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, 100)
    quarantine.add(b"first", "first")
    (content,) = tmp_path.glob("*.received")
    # As a stop in the midst of writing leaves it.
    content.with_name(f".{content.name}.1.part").write_bytes(b"fir")
    between = datetime.now(UTC)
    quarantine.add(b"second", "second")
    assert quarantine.forget(between) == 1
    assert held(tmp_path) == ["second"]
    assert len(list(tmp_path.iterdir())) == 2
    assert quarantine.forget(between) == 0


def test_it_is_of_no_more_than_so_many_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.box.quarantine.MOST", 3)
    quarantine = Quarantine(tmp_path, 100)
    for number in range(5):
        quarantine.add(b"", str(number))
    assert held(tmp_path) == ["2", "3", "4"]
