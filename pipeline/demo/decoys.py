"""Series that ingest must refuse: a localizer in three planes, a scan with a slice missing, a CT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from pipeline.demo import modules, signal
from pipeline.demo.classic import classic
from pipeline.demo.cohort import Patient, grid
from pipeline.demo.enhanced import enhanced
from pipeline.demo.simulate import Images, head, scan

#: Column, row and slice directions (LPS), as columns, of axial, coronal and sagittal slices.
PLANES = (
    np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]),
)
LOCALIZER_MATRIX, LOCALIZER_MM = 96, (20.0, 2.5)
CT_SHAPE, CT_MM = (9, 96, 96), (15.0, 2.4)
#: Hounsfield units of each tissue at 120 kV; air is -1000.
HOUNSFIELD = {"csf": 8, "gm": 38, "wm": 29, "skull": 900, "scalp": -60, "lesion": 20, "core": 12}


def decoy(patient: Patient, seed: int, rng: np.random.Generator, images: Images) -> Iterator[Dataset]:
    """The files of the patient's series that must be refused; none for most patients. `images` are the good FLAIR."""
    depth = len(images.stored)
    holed = [index for index in range(depth) if index != depth // 2]
    if patient.decoy == "localizer":
        yield from _localizer(modules.Series(seed, patient, 1, "localizer", "Localizer"), rng)
    elif patient.decoy == "gap":
        yield from classic(modules.Series(seed, patient, 90, "gap", "AX T2 FLAIR interrupted"), images, holed)
    elif patient.decoy == "enhanced gap":
        yield enhanced(modules.Series(seed, patient, 90, "gap", "AX T2 FLAIR interrupted"), images, holed)
    elif patient.decoy == "ct":
        yield from _ct(modules.Series(seed, patient, 95, "ct", "Head CT"), rng)


def _localizer(series: modules.Series, rng: np.random.Generator) -> Iterator[Dataset]:
    """Three slices in each of three planes, one series."""
    patient = series.patient
    sequence = signal.sequence("T1", patient.scanner.field_strength_t)
    times = signal.tissues(patient.scanner.field_strength_t)
    instance = 1
    for axes in PLANES:
        place = grid((3, LOCALIZER_MATRIX, LOCALIZER_MATRIX), axes, LOCALIZER_MM)
        stored = scan(patient, head(replace(patient, finding=None), place, rng), times, sequence, rng)
        for ds in classic(series, Images(stored, place, sequence), range(3), first=instance):
            ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            yield ds
        instance += 3


def _ct(series: modules.Series, rng: np.random.Generator) -> Iterator[Dataset]:
    """CT Image module (PS3.3, C.8.2.1) of the same head."""
    place = grid(CT_SHAPE, PLANES[0], CT_MM)
    shares = head(replace(series.patient, finding=None), place, rng)
    air = 1 - sum(shares.values())
    units = sum(share * HOUNSFIELD[name] for name, share in shares.items()) - 1000 * air
    noisy = units + rng.normal(0, 6, size=place.shape)
    stored = np.clip(np.rint(noisy) + 1024, 0, 4095).astype(np.uint16)
    step, row, column = modules.spacing(place.affine_lps)
    for index in range(CT_SHAPE[0]):
        ds = modules.dataset(series, CTImageStorage, index + 1, modality="CT")
        ds.ImageType, ds.KVP, ds.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 120, 1
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
        ds.PixelSpacing, ds.SliceThickness = [row, column], step
        ds.ImageOrientationPatient = modules.orientation(place.affine_lps)
        ds.ImagePositionPatient = modules.position(place.affine_lps, index)
        modules.pixels(ds, stored[index])
        yield ds
