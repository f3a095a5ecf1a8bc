"""The whole way: DICOM of other simulated scanners, read and answered as by a box, reported, and found to be others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.demo import cohort, studies
from pipeline.dicom.load import load
from pipeline.dicom.scan import Scan
from pipeline.files import sha256_file
from pipeline.inference import signature
from pipeline.inference.release import Release, open_release
from pipeline.monitoring import reference, reports
from pipeline.monitoring.observation import Model, observe
from pipeline.monitoring.schema import Observed
from pipeline.monitoring.summary import against_release
from tests import observed

SEED = 5
Seen = tuple[cohort.Patient, Observed]


@pytest.fixture(scope="module")
def seen(root: Path, make_release: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, list[Seen]]:
    """Patients and what a release sees of their studies, from DICOM files on a disk."""
    folder = tmp_path_factory.mktemp("demo")
    opened = open_release(make_release(folder / "release"))
    demo = config.load(root / "params.yaml").demo.model_copy(update={"patients": 120, "slices": 8, "matrix": 64})
    patients = [replace(patient, contrasts=("FLAIR",), decoy=None) for patient in cohort.cohort(demo, SEED)]
    return opened, [(patient, _seen(opened, patient, folder / str(patient.number))) for patient in patients]


def _seen(opened: Release, patient: cohort.Patient, folder: Path) -> Observed:
    """What a release sees of a patient whose study is written to a folder."""
    studies.write(patient, SEED, folder / "scans", folder / "masks")
    scans = [scan for scan in load(folder / "scans", opened.manifest.selection, workers=1) if isinstance(scan, Scan)]
    volumes = [scan.volume for scan in scans]
    return observe(Model.of(opened), scans[0].manufacturer, scans[0].field_strength_t, volumes)


@pytest.fixture
def watched(seen: tuple[Release, list[Seen]], make_release: Any, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What is said of reports by a release whose reference is of the first 80 patients."""
    opened, found = seen
    folder = make_release(tmp_path / "release")
    known = [study for _, study in found[:80]]
    made = reference.make(opened.manifest.graph.sha256, opened.backend.name, known[:40], known[40:])
    made.save(folder / reference.FILE)
    signature.write_sums(folder)

    def watch(stream: Sequence[Observed]) -> dict[str, Any]:
        for report in observed.reported(stream, sha256_file(folder / signature.SUMS)):
            reports.append(tmp_path / "box", report)
        return against_release(folder, tmp_path / "box")

    return watch


def _alarmed(said: dict[str, Any]) -> set[str]:
    return {one["monitor"] for one in said["monitors"] if one["alarms"]}


def test_patients_of_the_same_kind_are_no_drift(seen: Any, watched: Callable[..., dict[str, Any]]) -> None:
    said = watched([study for _, study in seen[1][80:]])
    assert not said["alarm"]
    assert said["reference"]["studies"] == 40


def test_another_field_strength_is_found_by_its_own_monitor(seen: Any, watched: Callable[..., dict[str, Any]]) -> None:
    strong = [study for patient, study in seen[1] if patient.scanner.field_strength_t == 3]
    assert "field strength" in _alarmed(watched(strong))


def test_another_manufacturer_is_found_by_its_own_monitor(
    seen: Any, watched: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    others = []
    for patient, _ in seen[1][80:100]:
        scanner = replace(patient.scanner, manufacturer="CANON_MEC")
        others.append(_seen(seen[0], replace(patient, scanner=scanner), tmp_path / str(patient.number)))
    assert {study.manufacturer for study in others} == {"Canon"}
    assert "vendor" in _alarmed(watched(others))
