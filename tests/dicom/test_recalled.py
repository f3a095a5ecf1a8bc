"""Series that are recalled come to what they came to when they were judged."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.contract import Selection
from pipeline.dicom import incremental
from pipeline.dicom.catalogue import judge_headers
from pipeline.dicom.incremental import Incremental
from pipeline.dicom.load import load_with
from pipeline.dicom.memory import Memory, memory_of
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.withdrawals import Withdrawals

RULES = Selection(contrasts=None, min_slices=4)
NAMES = Pseudonyms(PUBLIC_DEMO_KEY)


@pytest.fixture
def scans(builder, tmp_path):
    """Series that are taken, in part, not at all, in several volumes, in one file and in an archive."""
    folder = tmp_path / "scans"
    builder.save(builder.classic("one", 5, patient="MRN-1"), folder)
    builder.save(builder.classic("short", 3), folder)
    builder.save(builder.several([{"EchoTime": 20, "EchoNumbers": 1}, {"EchoTime": 80, "EchoNumbers": 2}]), folder)
    builder.save(builder.classic("scout", 5, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), folder)
    builder.save([builder.enhanced("frames", 6)], folder)
    packed = builder.save(builder.classic("packed", 5), tmp_path / "packed")
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        for path in packed.iterdir():
            archive.write(path, path.name)
    return folder


@pytest.fixture
def judged(monkeypatch):
    """SeriesInstanceUIDs that were judged by headers since the list was cleared."""
    seen = []

    def judge(series, headers, selection):
        seen.append(series.uid)
        return judge_headers(series, headers, selection)

    monkeypatch.setattr(incremental, "judge_headers", judge)
    return seen


def run(folder: Path, selection: Selection = RULES) -> list[object]:
    """All that the folder comes to, with the memory beside it."""
    with closing(memory_of(folder.parent / "cache", folder, NAMES)) as memory:
        reader = Incremental(memory, NAMES, Withdrawals(NAMES, frozenset()))
        found: list[object] = list(load_with(reader, folder, selection, workers=1))
        reader.forget_others()
    return found


def memory(folder: Path) -> Path:
    [found] = (folder.parent / "cache").iterdir()
    return found


def test_all_is_as_it_was_judged(scans, judged):
    first = run(scans)
    assert len(judged) == 6
    assert {type(item).__name__ for item in first} == {"Saved", "Rejection"}
    assert {item.volume_number for item in first if not isinstance(item, Rejection)} >= {None, 1, 2}
    judged.clear()
    assert run(scans) == first
    assert judged == []


def test_scanners_own_files_too(shared, tmp_path, judged):
    (tmp_path / "scans").symlink_to(shared / "data/dicom/dcm_qa_philips_enh/In")
    first = run(tmp_path / "scans")
    assert len(judged) == 3
    judged.clear()
    assert run(tmp_path / "scans") == first
    # What is no image has no content that is remembered.
    refused = [item for item in first if isinstance(item, Rejection)]
    assert judged == [item.source for item in refused if item.reason == "not_an_image"]


def test_other_rules_and_the_best_of_a_study_are_judged_anew(scans, judged):
    run(scans)
    for merits in (None, ["latest"]):
        rules = Selection(contrasts=None, min_slices=3, best_of_study=merits)
        judged.clear()
        found = run(scans, rules)
        assert len(set(judged)) == 6
        assert found == run(scans, rules)


def test_a_touched_a_new_or_a_lost_file_has_its_series_judged_anew(scans, builder, judged):
    first, [packed, new] = run(scans), [builder.uid(name, "series") for name in ("packed", "new")]
    for uid, change in [
        (packed, lambda: os.utime(scans / "packed.zip")),
        (new, lambda: builder.save(builder.classic("new", 5), scans / "new")),
        (new, lambda: min((scans / "new").iterdir()).unlink()),
        (None, lambda: next((memory(scans) / "volumes").iterdir()).unlink()),
    ]:
        judged.clear()
        change()
        run(scans)
        assert judged == [uid or judged[0]]
    shutil.rmtree(scans / "new")
    judged.clear()
    assert run(scans) == first
    assert judged == []


def test_what_a_patients_series_came_to_is_forgotten_with_the_patient(scans):
    def rows() -> int:
        with closing(sqlite3.connect(memory(scans) / "known.sqlite")) as found:
            count: int = found.execute("SELECT COUNT(*) FROM series").fetchone()[0]
            return count

    run(scans)
    assert rows() == 6
    with closing(Memory(memory(scans), NAMES)) as known:
        assert known.forget(NAMES.patient("MRN-1"), NAMES) == (5, 1)
    assert rows() == 5
