"""No identifier in anything that ingest writes or says: canaries planted everywhere, all bytes searched."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import dcmread

from pipeline import config
from pipeline.demo import studies
from pipeline.demo.cohort import cohort
from pipeline.files import read_csv, write_csv
from tests.stages.canaries import DATES, ENCODINGS, KEPT, UIDS, WORDS, pack, plant, save, second_echo

#: Always the same: among the digits of UIDs under a random key, a date or a time of the canaries comes up by chance.
KEY = "5a" * 32


@dataclass
class Run:
    """One run of the stage as a program; `own` are identifiers that the scans had of themselves."""

    folder: Path
    code: int
    said: str
    own: frozenset[str] = frozenset()


@pytest.fixture(scope="module")
def scans(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]], frozenset[str]]:
    """Studies of four patients of the demo with canaries in all of their files, and labels with some, too."""
    folder = tmp_path_factory.mktemp("canaries")
    small = config.load(root / "params.yaml").demo.model_copy(update={"patients": 12, "slices": 8, "matrix": 64})
    patients = cohort(small, 5)
    rows: list[dict[str, str]] = []
    for ill in (True, False):
        group = [patient for patient in patients if (patient.finding is not None) == ill]
        for patient in [next(p for p in group if p.classic), next(p for p in group if not p.classic)]:
            (folder / "clean").mkdir(exist_ok=True)
            rows += studies.write(patient, 5, folder / "clean", folder / "masks")
    second_echo(folder / "clean", rows[0]["SeriesInstanceUID"])
    nasty, own = folder / "scans", set()
    for count, path in enumerate(sorted((folder / "clean").iterdir())):
        ds = dcmread(path)
        own |= {ds[keyword].value for keyword in KEPT} | {path.stem, str(ds.PatientName), ds.AccessionNumber}
        ds.PatientID = f"QX-4711-77-{ds.PatientID}"
        plant(ds, count)
        save(ds, nasty / f"Zebrafinch^Jane 19470309/{UIDS[0]}/QX-4711-77 ツバメ太郎 {count}.dcm", count)
    some = min(nasty.rglob("*.dcm"))
    (nasty / "Zebrafinch 19470309 cut.dcm").write_bytes(some.read_bytes()[:3000])
    (nasty / "Zebrafinch.txt").write_text("Zebrafinch, born 19470309")
    pack(nasty)
    for count, row in enumerate(rows):
        row.update(PatientID="QX-4711-77", PatientName="Zebrafinch", note=f"Finkenweg 17, bed {count}", born=DATES[1])
    return nasty, rows, frozenset(own)


@pytest.fixture(scope="module")
def run(root: Path, scans: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    nasty, rows, own = scans
    configuration = tmp_path_factory.mktemp("configuration")
    key_file = configuration / "mri-transfer/pseudonym.key"
    key_file.parent.mkdir()
    key_file.touch(0o600)
    key_file.write_text(KEY)

    def run(*arguments: str, labels: Iterable[dict[str, str]] = rows, **changes: Any) -> Run:
        folder = tmp_path_factory.mktemp("project")
        params = yaml.safe_load((root / "params.yaml").read_text())
        params["data"].update(dicom_dir=str(nasty), labels="labels.csv", label_level="series", positive=None)
        params["ingest"].update(contrasts=None, min_slices=8, workers=1, **changes)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        write_csv(folder / "labels.csv", rows[0], labels)
        home = {"XDG_CONFIG_HOME": str(configuration), "XDG_CACHE_HOME": str(folder / "cache")}
        environment = os.environ | home | {"PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.stages.ingest", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
        )
        (folder / "labels.csv").unlink()
        (folder / "params.yaml").unlink()
        return Run(folder, done.returncode, (done.stdout + done.stderr).decode(), own)

    return run


def canaries(own: Iterable[str] = ()) -> set[bytes]:
    """Each canary in each encoding that can hold it."""
    found = set()
    for word in (*WORDS, *DATES, *UIDS, *own):
        for encoding in ENCODINGS:
            with_errors = word.encode(encoding, errors="ignore")
            if with_errors.decode(encoding) == word:
                found.add(with_errors)
    return found


def told(run: Run) -> dict[str, list[str]]:
    """Where which canary stands: in what was said, in a name, or in a file, packed or not."""
    contents = {"what was said": run.said.encode()}
    for path in run.folder.rglob("*"):
        name = path.relative_to(run.folder).as_posix()
        contents[f"the name {name}"] = name.encode()
        if path.is_file():
            content = path.read_bytes()
            contents[name] = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    wanted = canaries(run.own)
    return {
        place: hits
        for place, content in contents.items()
        if (hits := sorted(repr(canary) for canary in wanted if canary in content))
    }


def test_canaries_are_found_where_they_are(scans, tmp_path):
    """The search itself: it sees every canary in the scans."""
    nasty, _, own = scans
    files = [path for path in nasty.rglob("*") if path.is_file()]
    everything = b"".join(path.read_bytes() + str(path).encode() for path in files)
    assert {".dcm", ".gz", ".zip", ".txt"} <= {path.suffix for path in files}
    assert len(own) > 60
    for word in (*WORDS, *DATES, *UIDS):
        assert any(word.encode(encoding, errors="ignore") in everything for encoding in ENCODINGS), word
    (tmp_path / "x.gz").write_bytes(gzip.compress("ツバメ太郎".encode("shift_jis")))
    assert list(told(Run(tmp_path, 0, "Zebrafinch"))) == ["what was said", "x.gz"]


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_that_ingest_writes_or_says_holds_a_canary(run, keep):
    done = run("--deidentify-to", "shared", keep_sex_age=keep, keep_site=False)
    assert done.code == 0, done.said
    assert told(done) == {}
    index = read_csv(done.folder / "data/ingested/index.csv")
    files = list((done.folder / "shared").rglob("*.dcm"))
    assert len(files) > len(index) >= 4
    assert {path.parent.name for path in files} == {row["series"].split("-v")[0] for row in index}
    assert {row["vendor"] for row in index} == {"other"}
    volumes = [row["series"] for row in index if "-v" in row["series"]]
    assert len(volumes) == 2
    rejected = [row["reason"] for row in read_csv(done.folder / "data/ingested/rejected.csv")]
    assert rejected.count("not_dicom") == 2  # a text, and one in the archive
    for path in files:
        ds = dcmread(path)
        assert (ds.PatientIdentityRemoved, ds.PatientID) == ("YES", path.relative_to(done.folder / "shared").parts[0])


def test_explain_says_no_canary_and_writes_nothing(run):
    done = run("--explain", planes=["coronal"], best_of_study=["latest"])
    assert done.code == 0, done.said
    assert done.said.count("plane_not_selected: axial is not in ingest.planes: [coronal]") >= 4
    assert told(done) == {}
    assert list(done.folder.iterdir()) == []


def test_an_error_holds_no_canary(run):
    done = run(labels=[{"SeriesInstanceUID": UIDS[0], "PatientName": "Zebrafinch", "label": str(k)} for k in (0, 1)])
    assert done.code == 1
    assert (done.folder / ".stage-errors/ingest.json").is_file()
    assert told(done) == {}
