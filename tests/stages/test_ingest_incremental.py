"""Ingest with a memory gives what ingest from nothing gives, byte for byte, and reads what is new alone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from pipeline import config, withdrawn
from pipeline.dicom import header, incremental, memory, saved
from pipeline.dicom.pseudonym import Pseudonyms, default_key_file, existing_key
from pipeline.errors import DataError
from pipeline.files import read_csv
from pipeline.stages.ingest import ingest


@pytest.fixture
def project(root, builder, tmp_path, monkeypatch):
    """A project in the current directory with four series, a zip and a text; `project()` ingests it."""
    monkeypatch.chdir(tmp_path)
    for name in ("config", "cache"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    for name in ("one", "two", "three"):
        builder.save(builder.classic(name, 9, patient=f"MRN-{name}"), Path("scans") / name)
    builder.save([builder.enhanced("four", 12, patient="MRN-four")], Path("scans"))
    packed = builder.save(builder.classic("five", 9, patient="MRN-five"), Path("packed"))
    with zipfile.ZipFile("scans/five.zip", "w") as archive:
        for path in sorted(packed.iterdir()):
            archive.write(path, path.name)
    Path("scans/readme.txt").write_text("none")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(tmp_path / "scans"), labels=None)
    params["ingest"].update(contrasts=["FLAIR"], min_slices=8, workers=1)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    return lambda: ingest(config.load())


@pytest.fixture
def read(monkeypatch):
    """What was read since the list was cleared: names of files for headers, `volume` for volumes."""
    seen: list[str] = []

    def headers(paths, real=header.read_headers):
        seen.extend(path.name for path in paths)
        return real(paths)

    def encode(plan, real=saved.encode):
        seen.append("volume")
        return real(plan)

    monkeypatch.setattr(incremental, "read_headers", headers)
    monkeypatch.setattr(saved, "encode", encode)
    return seen


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("data/ingested").rglob("*") if path.is_file()}


def same_as_from_nothing(project) -> bool:
    """Whether what stands in the outputs is what a run without memory and outputs writes."""
    before = outputs()
    for folder in ("cache", "data/ingested"):
        shutil.rmtree(folder)
    project()
    return len(before) > 3 and outputs() == before


def test_a_second_run_reads_nothing_and_writes_the_same(project, read):
    project()
    assert read.count("volume") == 5
    before = outputs()
    shutil.rmtree("data/ingested")  # as DVC does
    read.clear()
    project()
    assert read == []
    assert outputs() == before
    assert same_as_from_nothing(project)


def test_new_changed_and_vanished_files(project, builder, read):
    project()
    builder.save(builder.classic("six", 9, patient="MRN-six"), Path("scans/six"))
    shutil.rmtree("scans/two")
    [*_, last] = sorted(Path("scans/one").iterdir())
    last.write_bytes(last.read_bytes()[:-1])
    read.clear()
    project()
    # Nine new files, the changed one, and the volume of the new ones alone: that of the changed one cannot be read.
    assert len(read) == 9 + 1 + 2
    assert {row["reason"] for row in read_csv(Path("data/ingested/rejected.csv"))} == {"not_dicom", "unreadable_pixels"}
    assert len(outputs()) == 3 + 4
    assert len(list(Path("cache").rglob("*.nii.gz"))) == 4
    assert same_as_from_nothing(project)


def test_same_size_and_time_but_another_content_is_noticed(project, read):
    project()
    path = min(Path("scans/one").iterdir())
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-2] + bytes(byte ^ 1 for byte in content[-2:]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    read.clear()
    project()
    assert read == [path.name, "volume"]
    assert same_as_from_nothing(project)


def test_moved_and_touched_files_keep_their_volume(project, read):
    project()
    Path("scans/one").rename("scans/elsewhere")
    os.utime(min(Path("scans/two").iterdir()))
    read.clear()
    project()
    assert len(read) == 9 + 1
    assert "volume" not in read
    assert same_as_from_nothing(project)


@pytest.mark.parametrize("change", [{"contrasts": None, "min_slices": 10}, {"best_of_study": ["most_slices"]}])
def test_other_rules_of_selection(project, change):
    project()
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["ingest"].update(change)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    project()
    before = outputs()
    shutil.rmtree("cache")
    shutil.rmtree("data/ingested")
    project()
    assert outputs() == before


@pytest.mark.parametrize("what", ["version", "key", "damaged rows", "no rows", "changed volume"])
def test_what_does_not_count(project, read, what, monkeypatch):
    project()
    folder = next(Path("cache/mri-transfer/ingest").iterdir())
    if what == "version":
        monkeypatch.setattr(memory, "code_version", lambda: "another")
    elif what == "key":
        default_key_file().unlink()
    elif what == "damaged rows":
        (folder / "known.sqlite").write_bytes(b"no database" * 500)
    elif what == "no rows":
        with sqlite3.connect(folder / "known.sqlite") as rows:
            rows.execute("UPDATE files SET content = zeroblob(100)")
            rows.execute("UPDATE volumes SET content = zeroblob(100)")
    else:
        for path in (folder / "volumes").iterdir():
            path.write_bytes(b"no volume")
    read.clear()
    project()
    assert read.count("volume") == 5
    assert same_as_from_nothing(project)


def test_memory_is_its_owners_alone_and_holds_no_identifier(project):
    project()
    folder = Path("cache/mri-transfer/ingest")
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(word in str(path).encode() + content for word in (b"MRN-", b"2.25.", b"scans/one", b"JANE"))


def test_withdrawn_patients_leave_outputs_and_memory(project, read):
    project()
    names = Pseudonyms(existing_key(default_key_file()))
    patient = names.patient("MRN-one")
    assert withdrawn.add(patient)
    assert not withdrawn.add(patient)
    for _ in range(2):
        project()
        assert patient not in Path("data/ingested/index.csv").read_text()
        rejected = read_csv(Path("data/ingested/rejected.csv"))
        assert [row["reason"] for row in rejected].count("withdrawn") == 1
        assert len(list(Path("cache").rglob("*.nii.gz"))) == 4
    assert read.count("volume") == 5
    assert same_as_from_nothing(project)


def test_a_patient_who_is_withdrawn_meanwhile_stops_it(project, monkeypatch):
    lists = iter([frozenset(), frozenset({"P-0123456789ab"})])
    monkeypatch.setattr("pipeline.withdrawn.read", lambda: next(lists))
    with pytest.raises(DataError, match="as it was at the start; found another list"):
        project()
    assert not Path("data/ingested/index.csv").exists()


KILLED = """
import os, sys
from pathlib import Path
from pipeline import config
from pipeline.dicom import incremental, load, saved
from pipeline.dicom.memory import Memory
import pipeline.dicom.memory as memory
memory.FLUSH_S, load.CHUNK = 0.0, 5
place, left = sys.argv[1], int(sys.argv[2])
def counted(real):
    def call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*arguments, **named)
    return call
owner, name = {"header": (incremental, "_read_file"), "save": (saved, "save"), "row": (Memory, "add_volume"),
               "put": (saved.Saved, "put"), "keep": (Memory, "forget_unused")}[place]
setattr(owner, name, counted(getattr(owner, name)))
from pipeline.stages.ingest import ingest
ingest(config.load())
"""


@pytest.mark.parametrize(("place", "after"), [("header", 12), ("save", 3), ("row", 2), ("put", 4), ("keep", 0)])
def test_a_killed_run_goes_on_where_it_was(project, read, root, place, after):
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", KILLED, place, str(after)], env=environment, capture_output=True)
    assert done.returncode == 9, done.stderr.decode()
    shutil.rmtree("data/ingested", ignore_errors=True)
    project()
    headers, volumes = len(read) - read.count("volume"), read.count("volume")
    assert (headers, volumes) == {
        "header": (30 - 10, 5),
        "save": (0, 5 - 3),
        "row": (0, 5 - 2),
        "put": (0, 5 - 5),
        "keep": (0, 0),
    }[place]
    assert same_as_from_nothing(project)
