"""One patient's images: tissue fractions, the signal of each tissue, coil shading and Rician noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.demo import lesions, signal
from pipeline.demo.anatomy import Grid, fractions
from pipeline.demo.cohort import Patient, Scanner
from pipeline.demo.fields import smooth_field

Array = npt.NDArray[np.float32]
Stored = npt.NDArray[np.uint16]

#: Relaxation times differ between people by about this share.
TISSUE_SPREAD = 0.04
#: Stored values have 12 bits.
STORED_MAX = 4095


@dataclass(frozen=True)
class Images:
    """uint16 (D, H, W) stored values on one grid, their sequence, and where lesions fill half of a voxel or more."""

    stored: Stored
    grid: Grid
    sequence: signal.Sequence
    lesion: npt.NDArray[np.bool_] | None = None


def images(patient: Patient, rng: np.random.Generator) -> Iterator[Images]:
    """Every series of the patient in `patient.contrasts`, of the same head with the same lesions."""
    shares = head(patient, patient.grid, rng)
    times = _times(patient, rng)
    lesion = shares["lesion"] + shares["core"] >= 0.5 if patient.finding else None
    for contrast in patient.contrasts:
        sequence = signal.sequence(contrast, patient.scanner.field_strength_t)
        yield Images(scan(patient, shares, times, sequence, rng), patient.grid, sequence, lesion)


def head(patient: Patient, grid: Grid, rng: np.random.Generator) -> dict[str, Array]:
    """Fractions (D, H, W) of every tissue, lesions included."""
    shares = fractions(rng, grid, patient.head)
    if patient.finding is None:
        return shares
    lesion = lesions.draw(rng, shares, grid, patient.finding.volume_ml)
    rest = 1 - lesion.rim - lesion.core
    return {name: share * rest for name, share in shares.items()} | {"lesion": lesion.rim, "core": lesion.core}


def _times(patient: Patient, rng: np.random.Generator) -> dict[str, signal.Tissue]:
    """This patient's tissues: a few per cent off the table, lesions as far from white matter as the finding says."""
    table = signal.tissues(patient.scanner.field_strength_t)
    times = {}
    for name, tissue in table.items():
        t1, t2 = np.exp(rng.normal(0, TISSUE_SPREAD, size=2))
        times[name] = signal.Tissue(tissue.t1_ms * t1, tissue.t2_ms * t2, tissue.proton_density)
    share = patient.finding.contrast if patient.finding else 1.0
    return times | {"lesion": times["wm"].towards(times["lesion"], share)}


def scan(
    patient: Patient,
    shares: Mapping[str, Array],
    times: Mapping[str, signal.Tissue],
    sequence: signal.Sequence,
    rng: np.random.Generator,
) -> Stored:
    """The stored values (D, H, W) that one sequence gives.

    The magnitude of a complex signal with noise in both channels has a Rice distribution (Gudbjartsson and Patz, Magn
    Reson Med 34:910, 1995). `patient.snr` is white matter's signal over the noise's standard deviation.
    """
    white = sequence.signal(times["wm"])
    real = np.zeros_like(shares["wm"])
    for name, tissue in times.items():
        if name in shares:
            real += shares[name] * np.float32(sequence.signal(tissue) / white)
    real *= np.exp(np.float32(patient.shading) * smooth_field(rng, real.shape, (4, 4, 4)))
    noise = rng.standard_normal((2, *real.shape), dtype=np.float32) / np.float32(patient.snr)
    magnitude = np.hypot(real + noise[0], noise[1])
    return _store(magnitude, patient.scanner, rng)


def _store(magnitude: Array, scanner: Scanner, rng: np.random.Generator) -> Stored:
    """Counts: the scanner's gain, which the operator's prescan moves from patient to patient."""
    top = float(np.quantile(magnitude[:: max(1, len(magnitude) // 8)], 0.999))
    counts = magnitude * np.float32(scanner.gain * rng.uniform(0.8, 1.25) / top)
    stored: Stored = np.clip(np.rint(counts), 0, STORED_MAX).astype(np.uint16)
    return stored
