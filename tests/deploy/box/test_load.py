"""`python -m tests.acceptance.box_load` in short: what is sent comes back once, and the figures are there."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

import pytest

from deploy.box.destinations import Kind
from deploy.box.journal import Journal
from tests.acceptance import box_load
from tests.deploy.box.load import Returns
from tests.deploy.box.orthanc import orthanc
from tests.deploy.box.results import destination, result
from tests.deploy.box.test_sender import filled
from tests.inference.conftest import Maker, SeriesWriter
from tests.waiting import within

pytestmark = pytest.mark.acceptance


def test_what_is_sent_under_load_comes_back_once(
    make_release: Maker, write_series: SeriesWriter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        write_series(tmp_path / "scans" / f"{number}", number)
    asked = argparse.Namespace(search_s=3.0, hold_s=6.0, share=0.5, quiet_s=1.0)
    asked.release, asked.scans = make_release(tmp_path / "release"), tmp_path / "scans"
    (tmp_path / "box").mkdir()
    assert box_load.measured(tmp_path / "box", asked), capsys.readouterr().out
    said = capsys.readouterr().out
    assert "the most: " in said
    assert "50% of it for 6 s: " in said
    assert "each has one report and one summary: True" in said


def test_a_copy_that_comes_when_all_is_whole_is_counted(tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc") as pacs:
        returns = Returns(pacs)
        returns.start()
        kinds: tuple[Kind, ...] = ("sr", "sc")
        contents = {kind: result(1, kind) for kind in kinds}
        for content in contents.values():
            pacs.store(content)
        assert within(60, lambda: not pacs.stored())
        (came,) = returns.came.values()
        before = came.total()
        pacs.store(contents["sc"])
        returns.stop.set()
        returns.join()
    assert (before, came.total()) == (2, 3)


def test_who_counts_waits_for_what_is_to_be_sent(tmp_path: Path) -> None:
    outbox = filled(Journal(tmp_path / "journal.sqlite"), destination())
    waiting = threading.Thread(target=box_load.delivered, args=(tmp_path,))
    waiting.start()
    for each in outbox.deliveries():
        waiting.join(1.0)
        assert waiting.is_alive()
        assert outbox.move(each, "sent")
    waiting.join(60)
    assert not waiting.is_alive()
