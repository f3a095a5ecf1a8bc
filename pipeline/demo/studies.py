"""A patient's study as DICOM files, and the rows of the labels file that speak of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from pipeline.demo.classic import classic
from pipeline.demo.cohort import Patient
from pipeline.demo.decoys import decoy
from pipeline.demo.enhanced import enhanced
from pipeline.demo.modules import Series
from pipeline.demo.simulate import Images, images
from pipeline.dicom.pseudonym import PUBLIC_DEMO_KEY, Pseudonyms
from pipeline.files import write_atomic
from pipeline.imaging.nifti import packed
from pipeline.imaging.volume import Volume

#: Columns of the labels file.
COLUMNS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "label", "site")
DESCRIPTIONS = {"FLAIR": "AX T2 FLAIR", "T1": "AX T1 SE", "T2": "AX T2 TSE"}


def write(patient: Patient, seed: int, folder: Path, masks: Path) -> list[dict[str, str]]:
    """Simulate and write every series of a patient below `folder`, and below `masks` where its lesions are.

    Returns:
        a row for each series that has a label: 1 where a lesion was drawn. Series that must be refused have none.
    """
    rng = np.random.default_rng([seed, 2, patient.number])
    rows = []
    for number, made in enumerate(images(patient, rng), start=2):
        contrast = made.sequence.contrast
        series = Series(seed, patient, number, contrast, DESCRIPTIONS[contrast])
        for ds in _files(series, made, rng):
            _save(ds, folder)
        if contrast == "FLAIR":
            for ds in decoy(patient, seed, rng, made):
                _save(ds, folder)
        if made.lesion is not None:
            drawn = Volume(made.lesion.astype(np.float32), made.grid.affine_lps)
            _draw(drawn, masks / f"{Pseudonyms(PUBLIC_DEMO_KEY).series(series.series_uid)}.nii.gz")
        rows.append(
            {
                "PatientID": patient.patient_id,
                "StudyInstanceUID": series.study_uid,
                "SeriesInstanceUID": series.series_uid,
                "label": "0" if patient.finding is None else "1",
                "site": patient.scanner.site,
            }
        )
    return rows


def _files(series: Series, made: Images, rng: np.random.Generator) -> Iterator[Dataset]:
    """One enhanced file, or shuffled classic ones: neither name nor number tells where a slice lies."""
    depth = len(made.stored)
    if series.patient.classic and made.sequence.contrast == "FLAIR":
        yield from classic(series, made, rng.permutation(depth).tolist())
    else:
        yield enhanced(series, made, range(depth)[:: -1 if series.patient.descending else 1])


def _draw(lesion: Volume, path: Path) -> None:
    write_atomic(path, lambda handle: handle.write(packed(lesion)))


def _save(ds: Dataset, folder: Path) -> None:
    name = hashlib.sha256(str(ds.SOPInstanceUID).encode()).hexdigest()[:16]
    path = folder / f"{name}.dcm"  # one folder: DVC walks every folder each time, also when nothing changed
    write_atomic(path, lambda handle: ds.save_as(handle, enforce_file_format=True))
