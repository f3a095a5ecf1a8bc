"""Stage `demo`: real DICOM that a validator accepts, the same bytes each time."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, MRImageStorage

from pipeline import config
from pipeline.demo import studies
from pipeline.demo.cohort import cohort
from pipeline.demo.simulate import images
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms
from pipeline.files import read_csv
from pipeline.imaging import nifti
from pipeline.stages.demo import demo

Series = dict[str, list[pydicom.Dataset]]


@pytest.fixture(scope="module")
def params(root: Path) -> config.Params:
    shipped = config.load(root / "params.yaml")
    small = shipped.demo.model_copy(update={"patients": 12, "slices": 10, "matrix": 64})
    return shipped.model_copy(update={"demo": small})


@pytest.fixture(scope="module")
def written(params: config.Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the stage ran, over an older demo's file."""
    folder = tmp_path_factory.mktemp("demo")
    stale = folder / "data/demo/dicom/DEMO-9999/old.dcm"
    stale.parent.mkdir(parents=True)
    stale.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        demo(params)
    return folder


@pytest.fixture(scope="module")
def series(written: Path) -> Series:
    """Every data set that was written, by SeriesInstanceUID."""
    found: Series = defaultdict(list)
    for path in sorted((written / "data/demo/dicom").rglob("*.dcm")):
        ds = pydicom.dcmread(path)
        found[ds.SeriesInstanceUID].append(ds)
    return found


def _places(files: list[pydicom.Dataset]) -> list[float]:
    """Positions along the slice normal, in file or frame order."""
    if files[0].SOPClassUID == EnhancedMRImageStorage:
        shared = files[0].SharedFunctionalGroupsSequence[0]
        axes = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        frames = files[0].PerFrameFunctionalGroupsSequence
        positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    else:
        axes = files[0].ImageOrientationPatient
        by_number = sorted(files, key=lambda ds: ds.InstanceNumber)
        positions = [ds.ImagePositionPatient for ds in by_number]
    normal = np.cross(axes[:3], axes[3:])
    return [float(np.dot(normal, position)) for position in positions]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _by_description(series: Series, text: str) -> list[list[pydicom.Dataset]]:
    return [files for files in series.values() if text in files[0].SeriesDescription]


@pytest.mark.acceptance
def test_dciodvfy_finds_no_error_in_any_file(program: Callable[[str], str], written: Path) -> None:
    dciodvfy = program("dciodvfy")
    paths = sorted((written / "data/demo/dicom").rglob("*.dcm"))
    findings = []
    for path in paths:
        done = subprocess.run([dciodvfy, path], capture_output=True, text=True, check=False)
        findings += [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")]
        findings += [f"exit {done.returncode}"] if done.returncode else []
    assert len(paths) > 60
    assert findings == []


def test_all_kinds_of_series_are_there_and_nothing_else(series: Series, params: config.Params) -> None:
    kinds = {(files[0].SOPClassUID, len(files) > 1) for files in series.values()}
    assert kinds == {(EnhancedMRImageStorage, False), (MRImageStorage, True), (CTImageStorage, True)}
    flair = [files for files in _by_description(series, "FLAIR") if "interrupted" not in files[0].SeriesDescription]
    assert len(flair) == params.demo.patients
    assert len({files[0].PatientID for files in flair}) == params.demo.patients
    assert len(_by_description(series, "T1 SE")) == len(_by_description(series, "T2 TSE")) == 3
    assert len(_by_description(series, "Localizer")) == 2


def test_labels_speak_of_every_good_series_and_of_no_other(written: Path, series: Series) -> None:
    rows = read_csv(written / "data/demo/labels.csv")
    assert list(rows[0]) == ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "label", "site"]
    refused = ("interrupted", "Localizer", "CT")
    good = {uid for uid, files in series.items() if not any(text in files[0].SeriesDescription for text in refused)}
    assert {row["SeriesInstanceUID"] for row in rows} == good
    truth = {row["PatientID"]: row["label"] for row in rows}
    assert all(truth[row["PatientID"]] == row["label"] for row in rows)
    assert sorted(truth.values()) == ["0"] * 6 + ["1"] * 6
    for row in rows:
        ds = series[row["SeriesInstanceUID"]][0]
        assert (ds.PatientID, ds.StudyInstanceUID) == (row["PatientID"], row["StudyInstanceUID"])
        assert ds.InstitutionName == f"Hospital {row['site'].title()}"


def test_good_series_have_equal_steps_and_interrupted_ones_a_gap(series: Series, params: config.Params) -> None:
    for files in series.values():
        if files[0].SeriesDescription in ("Localizer", "Head CT"):
            continue
        steps = np.diff(sorted(_places(files)))
        if "interrupted" in files[0].SeriesDescription:
            assert len(steps) == params.demo.slices - 2
            assert steps.max() == pytest.approx(2 * np.median(steps), rel=1e-3)
        else:
            assert len(steps) == params.demo.slices - 1
            assert np.ptp(steps) < 1e-3


def test_the_order_of_files_and_frames_does_not_tell_the_order_of_slices(series: Series) -> None:
    flair = [files for files in _by_description(series, "FLAIR") if "interrupted" not in files[0].SeriesDescription]
    directions = {tuple(np.sign(np.diff(_places(files))).astype(int)) for files in flair if len(files) == 1}
    assert {len(set(signs)) for signs in directions} == {1}
    assert len(directions) == 2
    for files in flair:
        if len(files) > 1:
            assert len(set(np.sign(np.diff(_places(files))))) == 2


def test_a_localizer_lies_in_three_planes(series: Series) -> None:
    for files in _by_description(series, "Localizer"):
        assert len({tuple(ds.ImageOrientationPatient) for ds in files}) == 3


def test_equal_seeds_give_equal_bytes_in_any_process(written: Path, params: config.Params, tmp_path: Path) -> None:
    patients = cohort(params.demo, params.seed)
    chosen = [next(p for p in patients if p.classic), next(p for p in patients if p.decoy == "ct")]
    for patient in chosen:
        studies.write(patient, params.seed, tmp_path / "dicom", tmp_path / "masks")
    again = _contents(tmp_path / "dicom")
    assert len(again) >= 10  # one of them is classic: a file a slice
    assert again.items() <= _contents(written / "data/demo/dicom").items()
    if any(patient.finding for patient in chosen):
        assert _contents(tmp_path / "masks").items() <= _contents(written / "data/demo/masks").items()


def test_lesions_are_drawn_where_the_images_have_them(written: Path, params: config.Params) -> None:
    rows = read_csv(written / "data/demo/labels.csv")
    name = Pseudonyms(PUBLIC_DEMO_KEY).series
    expected = {f"{name(row['SeriesInstanceUID'])}.nii.gz" for row in rows if row["label"] == "1"}
    masks = written / "data/demo/masks"
    assert {path.name for path in masks.iterdir()} == expected
    patient = next(p for p in cohort(params.demo, params.seed) if p.finding)
    made = next(images(patient, np.random.default_rng([params.seed, 2, patient.number])))
    stored = {tuple(nifti.load(path).affine_lps.ravel().round(3)): nifti.load(path) for path in masks.iterdir()}
    drawn = stored[tuple(patient.grid.affine_lps.ravel().round(3))].voxels > 0
    assert made.lesion is not None
    assert (drawn == made.lesion).all()
    volume_ml = drawn.sum() * abs(np.linalg.det(patient.grid.affine_lps[:3, :3])) / 1000
    assert volume_ml == pytest.approx(patient.finding.volume_ml, rel=0.5)


def test_uids_hang_on_the_seed_and_stand_under_2_25(series: Series, params: config.Params, tmp_path: Path) -> None:
    uids = [str(ds.SOPInstanceUID) for files in series.values() for ds in files] + list(series)
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)
    assert len(uids) == len(set(uids))
    other = studies.write(cohort(params.demo, params.seed)[0], params.seed + 1, tmp_path, tmp_path)
    assert other[0]["SeriesInstanceUID"] not in series
