from __future__ import annotations

import os
import tracemalloc
import zipfile
from collections import Counter
from contextlib import closing
from functools import partialmethod
from pathlib import Path

import pytest

from pipeline.contract import Selection
from pipeline.dicom import incremental
from pipeline.dicom.admission import outcome
from pipeline.dicom.catalogue import Catalogue, Member, judge_series, pack, place, placed, within
from pipeline.dicom.header import Instance, find_files
from pipeline.dicom.incremental import Incremental
from pipeline.dicom.load import Anew, load_with
from pipeline.dicom.memory import memory_of
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.withdrawals import Withdrawals
from pipeline.files import walk

LONG = "a folder/of some length/as archives have/IMG"


def catalogue_of(folder: Path) -> Catalogue:
    return Catalogue(folder, place(pack(folder, walk(folder))))


def test_series_hold_their_files_whatever_their_names(builder, tmp_path):
    odd = tmp_path / os.fsdecode(b"\xff\xfe J\xe4ne\n")
    builder.save(builder.classic("b", 3), odd)
    builder.save(builder.classic("a", 2), odd)
    with zipfile.ZipFile(odd / "é.zip", "w") as packed:
        for path in builder.save(builder.classic("z", 2), tmp_path / "zipped").iterdir():
            packed.write(path, f"ö/{path.name}")
            path.unlink()
    found = {series.uid: series.files.paths for series in catalogue_of(tmp_path)}
    assert [*found] == sorted(builder.uid(name, "series") for name in "abz")
    assert {len(found[builder.uid(name, "series")]) for name in "az"} == {2}
    loose = {path for name in "ab" for path in found[builder.uid(name, "series")]}
    assert loose == {path for path in find_files(tmp_path) if path.suffix != ".zip"}
    assert {path.parent for path in found[builder.uid("z", "series")]} == {odd / "é.zip/ö"}


@pytest.mark.parametrize("folder", [".", "..", "/", "a", "/a/.b"])
@pytest.mark.parametrize("below", [".b", "a", "a/b", "...", "a.b/.c"])
def test_what_is_within_a_folder_leads_back_to_it(folder, below):
    path = Path(folder) / below
    assert Path(folder) / within(path, Path(folder)) == path
    assert Path(folder) / within(f"{folder}/{below}", Path(folder)) == path
    assert placed(Member(f"{folder}/{below}", "", "not_dicom", ""), Path(folder)) == Rejection(below, "not_dicom")


def test_files_of_no_series_are_named_relative_to_the_folder(builder, tmp_path):
    (tmp_path / "b.txt").write_text("no DICOM")
    builder.save(builder.classic(slices=1, SeriesInstanceUID=""), tmp_path / "a")
    [nameless] = (tmp_path / "a").iterdir()
    catalogue = catalogue_of(tmp_path)
    assert len(catalogue) == 0
    assert catalogue.refused == [Rejection(f"a/{nameless.name}", "no_identity"), Rejection("b.txt", "not_dicom")]


def test_a_series_that_changes_before_its_turn_is_refused(builder, tmp_path):
    for name, change in {
        "gone": lambda path: path.unlink(),
        "broken": lambda path: path.write_text("no DICOM"),
        "another": lambda path: builder.classic("c", 1)[0].save_as(path, enforce_file_format=True),
        "all gone": lambda path: [each.unlink() for each in path.parent.iterdir()],
    }.items():
        folder = builder.save(builder.classic("a", 3), tmp_path / name)
        catalogue = catalogue_of(folder)
        change(min(folder.iterdir()))
        [series] = catalogue
        expected = [Rejection(builder.uid("a", "series"), "unreadable_pixels")]
        assert outcome(judge_series(series, None)) == expected, name


def test_a_file_takes_little_more_memory_than_its_path(tmp_path):
    files, per_series = 60_000, 20
    placed = ((f"2.25.{n // per_series:040}", "", f"{LONG}{n:07}\0".encode()) for n in range(files))
    tracemalloc.start()
    catalogue = Catalogue(tmp_path, placed)
    bytes_per_file = tracemalloc.get_traced_memory()[0] / files
    tracemalloc.stop()
    assert len(catalogue) == files / per_series
    assert bytes_per_file < len(LONG) + 8 + 45


@pytest.fixture
def alive(monkeypatch) -> Counter[str]:
    """How many headers there are `now`, and were at `most`."""
    count: Counter[str] = Counter()

    def begin(header, *values, real, **named):
        count["now"] += 1
        count["most"] = max(count["most"], count["now"])
        real(header, *values, **named)

    def end(_):
        count["now"] -= 1

    def known(*values, real=incremental._known):
        count["now"] += 1
        count["most"] = max(count["most"], count["now"])
        return real(*values)

    monkeypatch.setattr(Instance, "__del__", end, raising=False)
    monkeypatch.setattr(Instance, "__init__", partialmethod(begin, real=Instance.__init__))
    monkeypatch.setattr(incremental, "_known", known)
    return count


@pytest.mark.parametrize("reader", ["anew", "first time", "second time"])
def test_headers_are_in_memory_of_few_series_at_a_time(builder, tmp_path, alive, reader):
    for number in range(40):
        builder.save(builder.classic(f"s{number}", 6), tmp_path / "scans")
    selection, names = Selection(contrasts=None, min_slices=2, best_of_study=["latest"]), Pseudonyms(PUBLIC_DEMO_KEY)
    for _ in range(2 if reader == "second time" else 1):
        alive["most"] = 0
        with closing(memory_of(tmp_path / "cache", tmp_path / "scans", names)) as memory:
            how = Anew() if reader == "anew" else Incremental(memory, names, Withdrawals(names, frozenset()))
            taken = list(load_with(how, tmp_path / "scans", selection, workers=1))
        assert len(taken) == 40
    assert 0 < alive["most"] < 120, "64 are remembered of each process, of 240"
