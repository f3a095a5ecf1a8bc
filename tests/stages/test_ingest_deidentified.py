"""`ingest --deidentify-to` and `--resolve` as the programs that they are; splits under two keys."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from pipeline import config
from pipeline.dicom import deidentified
from pipeline.dicom.deidentify import Options
from pipeline.dicom.load import load
from pipeline.dicom.pseudonym import Pseudonyms, load_key
from pipeline.dicom.scan import Scan
from pipeline.errors import ConfigError
from pipeline.files import read_csv, write_csv
from pipeline.stages.ingest import ingest
from pipeline.stages.split import split
from tests.stages import ingest_program
from tests.stages.ingest_program import Program


@pytest.fixture
def project(root: Path, builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Two accepted series and one that is refused; the stage as a program."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scans = tmp_path / "scans"
    builder.save(builder.classic("one", 9, patient="MRN-1"), scans / "one")
    builder.save([builder.enhanced("two", 12, patient="MRN-2")], scans / "two")
    gap = builder.classic("gap", patient="MRN-2")
    builder.save(gap[:4] + gap[5:], scans / "gap")
    (scans / "note of Jane Doe.txt").write_text("born 19470309")
    labels = [{"SeriesInstanceUID": builder.uid(name, "series"), "label": k} for k, name in enumerate(("one", "two"))]
    write_csv(tmp_path / "labels.csv", labels[0], labels)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["data"].update(dicom_dir=str(scans), labels="labels.csv", label_level="series", positive=None)
    params["ingest"].update(contrasts=["FLAIR"], min_slices=8, workers=1)
    Path("params.yaml").write_text(yaml.safe_dump(params))

    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        return ingest_program.run(root, *arguments)

    return program


def test_accepted_series_are_written_and_no_others(project, tmp_path):
    done = project("--deidentify-to", "shared")
    assert done.returncode == 0, done.stderr
    assert "10 de-identified files of 2 series written" in done.stderr
    assert "faces are not removed" in done.stderr
    rows = read_csv(Path("data/ingested/index.csv"))
    expected = {f"shared/{row['patient']}/{row['study']}/{row['series']}" for row in rows}
    assert {path.parent.as_posix() for path in Path("shared").rglob("*.dcm")} == expected
    first = {path: path.read_bytes() for path in Path("shared").rglob("*.dcm")}
    for path in (tmp_path / "scans/one").iterdir():
        path.rename(path.with_name(f"z{path.name[::-1]}"))
    project("--deidentify-to", "shared")
    assert {path: path.read_bytes() for path in Path("shared").rglob("*.dcm")} == first


def test_what_is_written_is_the_same_scan_for_whoever_gets_it(project, tmp_path):
    """Read as a folder of scans, it gives the same volumes."""
    project("--deidentify-to", "shared")
    there = {item.source_sha256: item for item in load(tmp_path / "scans", workers=1) if isinstance(item, Scan)}
    names = Pseudonyms(load_key(tmp_path / "config/mri-transfer/pseudonym.key"))
    for item in load(tmp_path / "shared", workers=1):
        assert isinstance(item, Scan)
        source = there[item.source_sha256]
        assert (item.contrast, item.manufacturer, item.sex) == (source.contrast, source.manufacturer, source.sex)
        assert item.age_years == source.age_years
        assert item.patient_id == names.patient(source.patient_id)
        assert item.series_uid == names.uid(source.series_uid)


def test_a_series_that_is_no_longer_accepted_goes_from_the_folder(project, builder, tmp_path):
    project("--deidentify-to", "shared")
    builder.save(builder.classic("three", 9, patient="MRN-3"), tmp_path / "scans/three")
    next((tmp_path / "scans/one").iterdir()).unlink()
    (tmp_path / "scans/two").rename(tmp_path / "elsewhere")
    labels = [{"SeriesInstanceUID": builder.uid(name, "series"), "label": k} for k, name in enumerate(("one", "three"))]
    builder.save(builder.classic("one", 9, patient="MRN-1"), tmp_path / "scans/one")
    write_csv(tmp_path / "labels.csv", labels[0], labels)
    done = project("--deidentify-to", "shared")
    assert "1 de-identified files of earlier runs removed" in done.stderr
    assert len(list(Path("shared").iterdir())) == 2


def test_several_processes_write_the_same_bytes(project, builder, tmp_path, monkeypatch):
    scans = [item for item in load(tmp_path / "scans", workers=1) if isinstance(item, Scan)]
    monkeypatch.setattr(deidentified, "SERIES_PER_WORKER", 1)
    for workers in (1, 2):
        deidentified.write(tmp_path / str(workers), scans, Pseudonyms(b"k" * 32), Options(), workers)
    one, two = (
        {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in (tmp_path / name).rglob("*.dcm")}
        for name in "12"
    )
    assert one == two
    assert len(one) == 10


def test_a_burned_in_series_is_refused_everywhere(project, builder, tmp_path):
    project("--deidentify-to", "shared")
    builder.save(builder.classic("one", 9, patient="MRN-1", BurnedInAnnotation="YES"), tmp_path / "scans/one")
    builder.save([builder.enhanced("three", 12, patient="MRN-3")], tmp_path / "scans/three")
    labels = [{"SeriesInstanceUID": builder.uid(name, "series"), "label": k} for k, name in enumerate(("three", "two"))]
    write_csv(Path("labels.csv"), labels[0], labels)
    done = project("--deidentify-to", "shared")
    assert "1 rejected, burned_in: text may be burned into the pixels" in done.stderr
    assert "2 de-identified files of 2 series written" in done.stderr
    assert len(list(Path("shared").rglob("*.dcm"))) == 2


@pytest.mark.parametrize("place", ["scans", "scans/below", ".", "data/ingested/dicom"])
def test_files_do_not_go_among_the_scans_or_the_artefacts(project, place):
    done = project("--deidentify-to", place)
    assert done.returncode == 1
    assert "ConfigError: expected --deidentify-to a folder of its own" in done.stderr
    assert not Path("data/ingested").exists()


def test_a_token_leads_back_on_the_machine_that_holds_the_key(project, builder, tmp_path):
    project()
    rejected = {row["reason"]: row["source"] for row in read_csv(Path("data/ingested/rejected.csv"))}
    assert project("--resolve", rejected["not_dicom"]).stdout == "file note of Jane Doe.txt\n"
    gap = project("--resolve", rejected["missing_slice"])
    assert gap.stdout == f"SeriesInstanceUID {builder.uid('gap', 'series')}\n"
    with zipfile.ZipFile(tmp_path / "scans/disc of Jane.zip", "w") as packed:
        packed.writestr("Jane/notes.txt", "no DICOM")
        packed.write(next((tmp_path / "scans/two").iterdir()), "Jane/1")
    next((tmp_path / "scans/two").iterdir()).unlink()
    project()
    packed_token = (
        {row["source"] for row in read_csv(Path("data/ingested/rejected.csv"))} - {*rejected.values()}
    ).pop()
    assert project("--resolve", packed_token).stdout == "file disc of Jane.zip/Jane/notes.txt\n"
    patients = {project("--resolve", row["patient"]).stdout for row in read_csv(Path("data/ingested/index.csv"))}
    assert patients == {"PatientID MRN-1\n", "PatientID MRN-2\n"}
    series = read_csv(Path("data/ingested/index.csv"))[0]["series"]
    assert project("--resolve", f"{series}-v2").stdout == project("--resolve", series).stdout != ""


def test_a_token_leads_nowhere_elsewhere(project, monkeypatch, tmp_path):
    project()
    token = read_csv(Path("data/ingested/rejected.csv"))[0]["source"]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    done = project("--resolve", token)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ConfigError: expected the key in" in done.stderr
    assert not (tmp_path / "other").exists()
    load_key(tmp_path / "other/mri-transfer/pseudonym.key")
    done = project("--resolve", token)
    assert (done.returncode, done.stdout) == (1, "")
    assert "DataError" in done.stderr


def test_sites_stay_only_where_declared(project, root):
    rows = [row | {"site": "north"} for row in read_csv(Path("labels.csv"))]
    write_csv(Path("labels.csv"), rows[0], rows)
    params = config.load()
    for keep, sites in ((True, {"north"}), (False, {""})):
        ingest(params.model_copy(update={"ingest": params.ingest.model_copy(update={"keep_site": keep})}))
        assert {row["site"] for row in read_csv(Path("data/ingested/labels.csv"))} == sites


def test_a_folder_of_scans_is_no_place_either_when_called_as_a_function(project, tmp_path):
    with pytest.raises(ConfigError, match="a folder of its own"):
        ingest(config.load(), deidentify_to=tmp_path / "scans")


def test_splits_do_not_depend_on_the_key(project, builder, root, tmp_path, monkeypatch):
    """Ingest and split of the same scans under three keys: the same patients, by their real names, on each side."""
    scans = tmp_path / "many"
    patients = [f"MRN-{number}" for number in range(24)]
    for patient in patients:
        builder.save(builder.classic(patient, 2, patient=patient), scans)
    rows = [{"PatientID": patient, "label": k % 2, "site": "NS"[k // 2 % 2]} for k, patient in enumerate(patients)]
    write_csv(tmp_path / "labels.csv", rows[0], rows)
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["data"].update(dicom_dir=str(scans), label_level="patient")
    params["ingest"].update(min_slices=2)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    found, orders = set(), set()
    for key in ("a", "b", "c"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / key))
        ingest(config.load())
        split(config.load())
        names = Pseudonyms(load_key(tmp_path / key / "mri-transfer/pseudonym.key"))
        back = {names.patient(patient): patient for patient in patients}
        sides = [(back[row["patient"]], row["split"], row["site"]) for row in read_csv(Path("data/split.csv"))]
        found.add(tuple(sides))
        orders.add(tuple(back[name] for name in sorted(back)))
    assert len(orders) == 3
    assert len(found) == 1
    assert {side for _, side, _ in sides} == {"train", "val", "test"}
