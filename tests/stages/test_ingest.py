"""The stage as a user starts it: a folder of DICOM and a labels file beside params.yaml."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom.uid import ImplicitVRLittleEndian

from pipeline import config
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms
from pipeline.dicom.tables import INDEX_COLUMNS, LABEL_COLUMNS, REJECTED_COLUMNS
from pipeline.errors import DicomError, LabelError, LeakageError
from pipeline.files import read_csv
from pipeline.imaging import nifti
from pipeline.stages.ingest import ingest
from pipeline.stages.split import split


@pytest.fixture
def project(root, builder, tmp_path, monkeypatch):
    """A project in the current directory: two good series, three that are refused, labels by series."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scans = tmp_path / "scans of JANE DOE"
    builder.save(builder.classic("one", 9, patient="MRN-1"), scans / "DOE^JANE")
    builder.save([builder.enhanced("two", 12, patient="MRN-2")], scans)
    builder.save(builder.classic("t1", contrast="T1", patient="MRN-1"), scans)
    gap = builder.classic("gap", patient="MRN-2")
    builder.save(gap[:4] + gap[5:], scans)
    (scans / "JANE DOE.txt").write_text("born 19470309")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["data"].update(
        dicom_dir=str(scans), labels=str(tmp_path / "labels.csv"), label_level="series", positive=None
    )
    params["ingest"].update(contrasts=["FLAIR"], min_slices=8, keep_sex_age=True, workers=1)

    def run(labels: str | None = None, **changes: dict[str, object]) -> None:
        for section, values in changes.items():
            params[section].update(values)
        Path("params.yaml").write_text(yaml.safe_dump(params))
        if labels is not None:
            Path("labels.csv").write_text(labels)
        ingest(config.load())

    return run


@pytest.fixture
def by_series(builder):
    """Labels with columns that may be kept, `grade`, and that may not; the last three rows are of other series."""
    keys = [builder.uid(name, "series") for name in ("one", "two", "x", "y", "z")]
    rows = [
        f"{keys[0]},1,north,DOE^JANE,II,MRN-1,9 March 19470309,sent by Elsewhere,DOE",
        f"{keys[1]},0,south,ROE^RICHARD,II,MRN-2,10 March 19470309,JANE's sister,ROE",
        *(f"{key},0,south,ROE^RICHARD,III,{key},{key},{key},ROE" for key in keys[2:]),
    ]
    return "\n".join(["SeriesInstanceUID,label,site,PatientName,grade,mrn,born,note,ward", *rows])


def test_two_echoes_of_a_series_are_two_volumes_under_its_label(project, builder, by_series, tmp_path):
    series = builder.classic("one", 9, patient="MRN-1", EchoTime=100)
    for index, ds in enumerate(builder.classic("one", 9, patient="MRN-1", EchoTime=140)):
        ds.SOPInstanceUID, ds.PixelData = builder.uid("echo", index), bytes(len(ds.PixelData))
        series.append(ds)
    for path in (tmp_path / "scans of JANE DOE/DOE^JANE").iterdir():
        path.unlink()
    builder.save(series, tmp_path / "scans of JANE DOE/DOE^JANE")
    project(by_series)
    names = [row["series"] for row in read_csv(Path("data/ingested/index.csv"))]
    double = [name for name in names if "-v" in name]
    assert len(names) == 3
    assert sorted(name[-3:] for name in double) == ["-v1", "-v2"]
    assert len({name[:-3] for name in double}) == 1
    labels = {row["series"]: row["label"] for row in read_csv(Path("data/ingested/labels.csv"))}
    assert {labels[name] for name in double} == {"1"}
    assert nifti.load(Path(f"data/ingested/volumes/{sorted(double)[1]}.nii.gz")).voxels.max() == 0


def test_index_labels_volumes_and_rejections(project, builder, by_series):
    project(by_series)
    index = {row["field_strength_t"] + row["n_slices"]: row for row in read_csv(Path("data/ingested/index.csv"))}
    assert list(index["3.09"]) == INDEX_COLUMNS
    one, two = index["3.09"], index["3.012"]
    assert one["series"].startswith("S-")
    assert one["patient"].startswith("P-")
    assert one["patient"] != two["patient"]
    assert (one["path"], json.loads(one["shape"])) == (f"data/ingested/volumes/{one['series']}.nii.gz", [9, 32, 40])
    assert json.loads(one["spacing_mm"]) == [3.0, 0.9, 0.8]
    assert (one["vendor"], one["contrast"], one["sex"], one["age_years"]) == ("Siemens", "FLAIR", "F", "74")
    np.testing.assert_array_equal(nifti.load(Path(one["path"])).voxels, builder.values("one", 9))
    labels = {row["series"]: row for row in read_csv(Path("data/ingested/labels.csv"))}
    wanted = {"series": one["series"], "patient": one["patient"], "slice_index": "", "label": "1", "site": "north"}
    assert labels[one["series"]] == wanted | {"grade": "II"}
    assert labels[two["series"]]["label"] == "0"
    rejected = read_csv(Path("data/ingested/rejected.csv"))
    assert list(rejected[0]) == REJECTED_COLUMNS
    assert Counter(row["reason"] for row in rejected) == {
        "contrast_not_selected": 1,
        "missing_slice": 1,
        "not_dicom": 1,
    }
    assert all(row["source"].startswith("R-") and row["message"] for row in rejected)


def test_nothing_written_or_said_tells_who_it_is(project, builder, by_series, tmp_path, capfd):
    project(by_series)
    said = capfd.readouterr()
    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    texts = [path.read_text() for path in written if path.suffix == ".csv"]
    texts += [str(written).replace(str(tmp_path), ""), said.out, said.err]
    secrets = ["DOE", "ROE", "JANE", "MRN", "19470309", "20210617", "Elsewhere", "2.25."]
    secrets += [path.name for path in (tmp_path / "scans of JANE DOE").iterdir()]
    assert len(written) == 5
    assert [secret for secret in secrets if any(secret in text for text in texts)] == []


def test_counts_are_said(project, by_series, capfd):
    project(by_series)
    said = capfd.readouterr().err
    assert "2 volumes of 2 patients accepted, 0 of them without a label" in said
    assert "1 rejected, missing_slice: a slice is missing" in said
    for name in ("PatientName", "mrn", "born", "note", "ward"):
        assert f"the column {name} of the labels is left out" in said
    assert "the column grade" not in said
    assert "a new secret key was made in" in said


def test_copy_under_another_patient_and_other_uids_is_found_by_split(project, builder, by_series, tmp_path):
    copy = builder.classic("one", 9, patient="MRN-9", PatientName="ROE^MARY", StudyDate="20220101")
    for index, ds in enumerate(copy):
        ds.StudyInstanceUID, ds.SeriesInstanceUID = builder.uid("copy", "study"), builder.uid("copy", "series")
        ds.SOPInstanceUID, ds.FrameOfReferenceUID = builder.uid("copy", index), builder.uid("copy", "frame")
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    builder.save(copy, tmp_path / "scans of JANE DOE")
    project(by_series)
    index = read_csv(Path("data/ingested/index.csv"))
    assert len({row["series"] for row in index}) == 3
    [(sha256, count)] = Counter(row["source_sha256"] for row in index).most_common(1)
    assert count == 2
    assert len({row["patient"] for row in index if row["source_sha256"] == sha256}) == 2
    with pytest.raises(LeakageError, match="the same scan under the patients P-.* and P-"):
        split(config.load())


def test_sex_and_age_can_be_left_out(project, by_series):
    project(by_series, ingest={"keep_sex_age": False})
    assert {(row["sex"], row["age_years"]) for row in read_csv(Path("data/ingested/index.csv"))} == {("", "")}


def test_two_runs_give_equal_bytes_whatever_the_files_are_called(project, builder, by_series, tmp_path):
    project(by_series)
    first = {path: path.read_bytes() for path in Path("data/ingested").rglob("*") if path.is_file()}
    for path in (tmp_path / "scans of JANE DOE" / "DOE^JANE").iterdir():
        path.rename(path.with_name(f"z{path.name[::-1]}.ima"))
    project(by_series)
    assert {path: path.read_bytes() for path in Path("data/ingested").rglob("*") if path.is_file()} == first


def test_volumes_that_are_no_longer_there_go(project, builder, by_series):
    project(by_series)
    stale = Path("data/ingested/volumes/S-000000000000.nii.gz")
    stale.write_bytes(b"of an earlier run")
    project(by_series)
    assert len(list(stale.parent.iterdir())) == 2


def test_slices_are_labelled_by_their_place(project, builder):
    rows = [f"{builder.uid('one', 'instance', index)},,{int(index == 2)}" for index in (2, 7)]
    # Frame 1 of the enhanced file is its last slice.
    rows += [f"{builder.uid('two', 'instance', 0)},{frame},1" for frame in (1, 2)]
    project("\n".join(["SOPInstanceUID,FrameNumber,label", *rows]), data={"label_level": "slice"})
    labels = read_csv(Path("data/ingested/labels.csv"))
    assert list(labels[0]) == LABEL_COLUMNS
    places = {row["series"]: row["n_slices"] for row in read_csv(Path("data/ingested/index.csv"))}
    found = sorted((places[row["series"]], row["slice_index"], row["label"]) for row in labels)
    assert found == [("12", "10", "1"), ("12", "11", "1"), ("9", "2", "1"), ("9", "7", "0")]


@pytest.mark.parametrize(
    ("level", "column", "part"), [("patient", "PatientID", None), ("study", "StudyInstanceUID", "study")]
)
def test_labels_of_patients_and_studies_reach_each_series(project, builder, level, column, part):
    keys = [builder.uid(name, part) if part else patient for name, patient in (("one", "MRN-1"), ("two", "MRN-2"))]
    project(f"{column},label\n{keys[0]},ill\n{keys[1]},well\n", data={"label_level": level, "positive": "ill"})
    labels = read_csv(Path("data/ingested/labels.csv"))
    assert sorted(row["label"] for row in labels) == ["0", "1"]
    assert {row["slice_index"] for row in labels} == {""}


def test_demo_has_a_public_key_and_makes_none(project, by_series, tmp_path):
    (tmp_path / "data/demo").mkdir(parents=True)
    (tmp_path / "scans of JANE DOE").rename(tmp_path / "data/demo/dicom")
    project(by_series, data={"dicom_dir": "data/demo/dicom"})
    assert not (tmp_path / "config").exists()
    patients = {row["patient"] for row in read_csv(Path("data/ingested/index.csv"))}
    assert patients == {Pseudonyms(PUBLIC_DEMO_KEY).patient(f"MRN-{number}") for number in (1, 2)}


def test_no_such_folder(project, by_series, tmp_path):
    with pytest.raises(DicomError, match="expected a folder of DICOM at .*nowhere; found no such folder"):
        project(by_series, data={"dicom_dir": str(tmp_path / "nowhere")})


def test_no_mr_series_in_the_folder(project, by_series, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("nothing")
    with pytest.raises(DicomError, match=r"at least one MR series that can be used .* none in 1 files \(1 not_dicom"):
        project(by_series, data={"dicom_dir": str(tmp_path / "empty")})


def test_no_labels_file(project):
    with pytest.raises(LabelError, match=r"the labels in .*labels.csv; found no such file"):
        project()


def test_labels_without_a_known_key(project):
    with pytest.raises(LabelError, match=r"a known key column in .*; found columns case, label"):
        project("case,label\n1,1\n2,0\n")


def test_labels_that_match_nothing(project):
    with pytest.raises(
        LabelError, match=r"whose SeriesInstanceUID is that of an accepted series; found none of 2 keys"
    ):
        project("SeriesInstanceUID,label\n1.2.3,1\n1.2.4,0\n")


def test_slice_labels_without_frame_numbers_are_told_of_them(project, builder):
    text = f"SOPInstanceUID,label\n{builder.uid('two', 'instance', 0)},1\n1.2.4,0\n"
    with pytest.raises(LabelError, match="none of 2 keys matches.*multi-frame files need a FrameNumber"):
        project(text, data={"label_level": "slice"})


def test_labels_of_one_class(project, builder):
    one, two, t1 = (builder.uid(name, "series") for name in ("one", "two", "t1"))
    with pytest.raises(LabelError, match="two classes in the column `label`.*found only '1'"):
        project(f"SeriesInstanceUID,label\n{one},1\n{two},1\n")
    with pytest.raises(LabelError, match="accepted series of both classes; found only label 1 on 2 labelled units"):
        project(f"SeriesInstanceUID,label\n{one},1\n{two},1\n{t1},0\n")


def test_names_of_several_classes_become_their_places(project, builder, by_series):
    one, two, t1 = (builder.uid(name, "series") for name in ("one", "two", "t1"))
    several = {"task": "multilabel", "classes": ["bleed", "mass"]}
    project(f"SeriesInstanceUID,label\n{one},mass;bleed\n{two},\n{t1},mass\n", data=several)
    labels = read_csv(Path("data/ingested/labels.csv"))
    assert sorted(row["label"] for row in labels) == ["", "0;1"]


def test_a_class_that_no_accepted_series_has_is_named(project, builder):
    one, two, t1 = (builder.uid(name, "series") for name in ("one", "two", "t1"))
    several = {"task": "multiclass", "classes": ["low", "mid", "high"]}
    text = f"SeriesInstanceUID,label\n{one},low\n{two},mid\n{t1},high\n"
    with pytest.raises(LabelError, match="with the class 'high', and others without it; found 0 such on 2 labelled"):
        project(text, data=several)


def test_labels_that_contradict_each_other(project, builder):
    one, two = (builder.uid(name, "series") for name in ("one", "two"))
    with pytest.raises(LabelError, match="one label for each SeriesInstanceUID in .*; found lines 2 and 4 contradict"):
        project(f"SeriesInstanceUID,label\n{one},1\n{two},0\n{one},0\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_full_disk_is_an_error_and_leaves_what_was_there(project, builder, by_series, tmp_path):
    project(by_series)
    out = tmp_path / "data"
    kept = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    builder.save(builder.classic("new", 400, patient="MRN-3"), tmp_path / "scans of JANE DOE")
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(map(len, kept.values())) // 1024 + 300
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        subprocess.run(["cp", "-r", f"{out}/.", disk], check=True)
        out.rename(tmp_path / "elsewhere")
        out.symlink_to(disk)
        run = subprocess.run([sys.executable, "-m", "pipeline.stages.ingest"], capture_output=True, text=True)
        assert run.returncode == 1
        assert "StorageError: expected room on the disk for data/ingested/volumes/S-" in run.stderr
        assert json.loads(Path(".stage-errors/ingest.json").read_text())["retryable"] is True
        left = {path.relative_to(disk): path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        assert {path: content for path, content in left.items() if path in kept} == kept
        assert [path for path in left if path.name.endswith(".part")] == []
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.acceptance
def test_somebody_elses_data(project, shared, tmp_path):
    tool, source = shared / "tools/lgg_to_dicom.py", shared / "data/lgg_flair"
    subprocess.run([sys.executable, tool, source, tmp_path / "lgg", "--patients", "3"], check=True, capture_output=True)
    changes = {
        "dicom_dir": str(tmp_path / "lgg/dicom"),
        "labels": str(tmp_path / "lgg/labels.csv"),
        "label_level": "slice",
    }
    project(data=changes)
    with open(source / "labels.csv", newline="") as handle:
        slides = {(row["patient"], row["slice"]): row["label_tumour"] for row in csv.DictReader(handle)}
    patients = {path.name for path in (tmp_path / "lgg/dicom").iterdir()}
    expected = Counter(label for (patient, _), label in slides.items() if patient in patients)
    labels = read_csv(Path("data/ingested/labels.csv"))
    assert Counter(row["label"] for row in labels) == expected
    assert len(expected) == 2
    assert {row["site"] for row in labels} == {"CS", "DU", "EZ"}
