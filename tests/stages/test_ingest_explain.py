"""`ingest --explain` as the program that it is, and ingest without labels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from pipeline import config, withdrawn
from pipeline.dicom.pseudonym import Pseudonyms, load_key
from pipeline.dicom.tables import INDEX_COLUMNS, LABEL_COLUMNS
from pipeline.errors import LabelError
from pipeline.files import read_csv
from pipeline.stages.prepare import prepare
from pipeline.stages.split import split
from tests.stages import ingest_program
from tests.stages.ingest_program import Program


@pytest.fixture
def project(root: Path, builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A study with two FLAIR series, another with one of T1, and no labels; the stage as a program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scans = tmp_path / "scans"
    study = builder.uid("study")
    builder.save(builder.classic("one", 9, patient="MRN-1", StudyInstanceUID=study), scans / "DOE^JANE")
    builder.save(builder.classic("more", 12, patient="MRN-1", StudyInstanceUID=study), scans / "DOE^JANE")
    builder.save(builder.classic("t1", 9, contrast="T1", patient="MRN-2"), scans)
    (scans / "note of Jane Doe.txt").write_text("born 19470309")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(scans), labels=None)

    def program(*arguments: str, **rules: object) -> subprocess.CompletedProcess[str]:
        params["ingest"].update(workers=1, **rules)
        Path("params.yaml").write_text(yaml.safe_dump(params))
        return ingest_program.run(root, *arguments)

    return program


def listing(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "params.yaml"}


def test_explain_writes_nothing_not_even_a_key(project: Program, tmp_path: Path) -> None:
    before = listing(tmp_path)
    done = project("--explain")
    assert done.returncode == 0, done.stderr
    assert listing(tmp_path).keys() | {tmp_path / "params.yaml"} == before.keys() | {tmp_path / "params.yaml"}
    assert "no key yet, so the pseudonyms below are of this output alone" in done.stderr
    assert "3 series: 2 taken, in 2 volumes; 1 left." in done.stdout
    for secret in ("DOE", "Jane", "JANE", "MRN", "19470309", "2.25."):
        assert secret not in done.stdout + done.stderr


def test_explain_names_what_ingest_writes(project: Program, builder: ModuleType, tmp_path: Path) -> None:
    rules = {"contrasts": ["FLAIR"], "planes": ["axial"], "best_of_study": ["most_slices"]}
    assert project(**rules).returncode == 0
    names = Pseudonyms(load_key(tmp_path / "config/mri-transfer/pseudonym.key"))
    before = listing(tmp_path)
    done = project("--explain", **rules)
    assert listing(tmp_path) == before
    [row] = read_csv(Path("data/ingested/index.csv"))
    assert row["series"] == names.series(builder.uid("more", "series"))
    verdicts = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert verdicts[row["series"]] == "taken"
    assert verdicts[names.series(builder.uid("one", "series"))] == "left"
    reasons = {row["reason"] for row in read_csv(Path("data/ingested/rejected.csv"))}
    assert reasons == {"not_best_of_study", "contrast_not_selected", "not_dicom"}
    assert all(reason in done.stdout for reason in reasons)


def test_explain_refuses_what_ingest_refuses_of_a_withdrawn_patient(
    project: Program, builder: ModuleType, tmp_path: Path
) -> None:
    scans, mixed = tmp_path / "scans", builder.uid("mixed", "series")
    builder.save(builder.classic("alone", 1, patient="MRN-1", SeriesInstanceUID=""), scans)
    builder.save(builder.classic("mixed", 9, patient="MRN-1"), scans / "a")
    builder.save(builder.classic("other", 9, patient="MRN-3", SeriesInstanceUID=mixed), scans / "b")
    names = Pseudonyms(load_key(tmp_path / "config/mri-transfer/pseudonym.key"))
    withdrawn.add(names.patient("MRN-1"))
    assert project().returncode == 0
    [row] = read_csv(Path("data/ingested/index.csv"))
    assert (row["series"], row["patient"]) == (names.series(mixed), names.patient("MRN-3"))
    refused = Counter(row["reason"] for row in read_csv(Path("data/ingested/rejected.csv")))
    assert refused == {"withdrawn": 4, "contrast_not_selected": 1, "not_dicom": 1}
    said = project("--explain").stdout
    assert "5 series: 1 taken, in 1 volume; 4 left." in said
    assert "Left: 3 withdrawn, 1 contrast_not_selected." in said
    assert "Files of no series: 1 not_dicom, 1 withdrawn." in said


def test_explain_can_be_cut_off(project: Program, root: Path) -> None:
    project("--explain")
    command = f"{sys.executable} -m pipeline.stages.ingest --explain | true; exit ${{PIPESTATUS[0]}}"
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_explain_of_no_such_folder_is_an_error(project: Program, tmp_path: Path) -> None:
    (tmp_path / "scans").rename(tmp_path / "gone")
    done = project("--explain")
    assert (done.returncode, done.stdout) == (1, "")
    assert "explain: DicomError: expected a folder of DICOM at" in done.stderr
    assert not Path(".stage-errors").exists()


def test_explain_does_nothing_else(project: Program) -> None:
    done = project("--explain", "--deidentify-to", "shared")
    assert done.returncode == 2
    assert "not allowed with argument --explain" in done.stderr


def test_without_labels_every_series_is_taken_and_can_be_passed_on(project: Program, tmp_path: Path) -> None:
    done = project("--deidentify-to", "shared", contrasts=None)
    assert done.returncode == 0, done.stderr
    index = read_csv(Path("data/ingested/index.csv"))
    assert len(index) == 3
    assert list(index[0]) == INDEX_COLUMNS
    assert all(Path(row["path"]).is_file() for row in index)
    assert Path("data/ingested/labels.csv").read_text() == ",".join(LABEL_COLUMNS) + "\n"
    assert len([*Path("shared").rglob("*.dcm")]) == 30
    assert "data.labels is null, so labels.csv is empty: the stages after this one need labels" in done.stderr


def test_stages_that_need_labels_say_what_to_do(project: Program) -> None:
    assert project().returncode == 0
    with pytest.raises(LabelError, match=r"a labelled series in data/ingested/labels.csv; found none. Set data.labels"):
        split(config.load())
    Path("data/split.csv").write_text("patient,split,site,label\n")
    with pytest.raises(LabelError, match=r"found none in data/ingested/labels.csv. Set data.labels and run ingest"):
        prepare(config.load())
