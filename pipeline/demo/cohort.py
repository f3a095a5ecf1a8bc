"""Who takes part in the demo: each simulated patient's scanner, slices, head and lesion, drawn from the seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import config
from pipeline.demo.anatomy import Grid, Head, rotation
from pipeline.files import read_csv

#: Share of the patients that also have each of these series.
EXTRA_SHARE = {"T1": 0.25, "T2": 0.25}
#: How many FLAIR series are classic (a file a slice); the others are enhanced (one file).
CLASSIC = 6
#: Series that ingest must reject, each beside the good series of one patient.
DECOYS = ("localizer", "localizer", "gap", "enhanced gap", "ct")
#: The slices together cover this much of the head, in mm.
COVER_MM = (126.0, 140.0)
FIELD_OF_VIEW_MM = (208.0, 232.0)


@dataclass(frozen=True)
class Scanner:
    """A row of `scanners.csv`: a scanner, and how often a site uses it."""

    site: str
    manufacturer: str
    model: str
    software: str
    field_strength_t: float
    gain: float
    rescale_slope: float


@dataclass(frozen=True)
class Finding:
    """A patient's lesions: their volume together, and their share of the full change of tissue."""

    volume_ml: float
    contrast: float


@dataclass(frozen=True)
class Patient:
    """One simulated patient; `number` counts from 1."""

    number: int
    patient_id: str
    sex: str
    age_years: int
    scanner: Scanner
    contrasts: tuple[str, ...]
    classic: bool
    descending: bool
    decoy: str | None
    grid: Grid
    head: Head
    finding: Finding | None
    snr: float
    shading: float


def cohort(demo: config.Demo, seed: int) -> list[Patient]:
    """All patients of the demo; equal arguments give equal patients.

    The share of patients with lesions is the same at every site, so the site does not give the label away; volumes
    and contrasts are spread evenly over their ranges (volumes by their logarithm).
    """
    rng = np.random.default_rng([seed, 0])
    scanners = [_scanner(rng) for _ in range(demo.patients)]
    findings = _findings(rng, demo, [scanner.site for scanner in scanners])
    extras = {contrast: _some(rng, demo.patients, share) for contrast, share in EXTRA_SHARE.items()}
    chosen = rng.permutation(demo.patients)
    classic = set(chosen[: min(CLASSIC, demo.patients // 4)].tolist())
    decoys = dict(zip(chosen[-len(DECOYS) :].tolist(), DECOYS, strict=True))
    return [
        _patient(
            number,
            demo,
            seed,
            scanners[number],
            findings[number],
            ("FLAIR", *(contrast for contrast, has in extras.items() if number in has)),
            number in classic,
            decoys.get(number),
        )
        for number in range(demo.patients)
    ]


def _patient(
    index: int,
    demo: config.Demo,
    seed: int,
    scanner: Scanner,
    finding: Finding | None,
    contrasts: tuple[str, ...],
    classic: bool,
    decoy: str | None,
) -> Patient:
    rng = np.random.default_rng([seed, 1, index])
    return Patient(
        number=index + 1,
        patient_id=f"DEMO-{index + 1:04d}",
        sex=str(rng.choice(["F", "M"])),
        age_years=int(rng.integers(19, 93)),
        scanner=scanner,
        contrasts=contrasts,
        classic=classic,
        descending=scanner.manufacturer.startswith("GE"),
        decoy=decoy,
        grid=_grid(rng, demo),
        head=_head(rng),
        finding=finding,
        snr=float(rng.uniform(9, 16) * (1.35 if scanner.field_strength_t == 3 else 1.0)),
        shading=float(rng.uniform(0.05, 0.15)),
    )


@cache
def _table() -> list[dict[str, str]]:
    return read_csv(Path(__file__).parent / "scanners.csv")


def _scanner(rng: np.random.Generator) -> Scanner:
    """A scanner by the sites' shares and each site's habits, so that site and vendor go together."""
    table = _table()
    chance = np.array([float(row["share"]) * float(row["weight"]) for row in table])
    row = table[rng.choice(len(table), p=chance / chance.sum())]
    return Scanner(
        site=row["site"],
        manufacturer=row["manufacturer"],
        model=row["model"],
        software=row["software"],
        field_strength_t=float(row["field_strength_t"]),
        gain=float(row["gain"]),
        rescale_slope=float(row["rescale_slope"]),
    )


def _findings(rng: np.random.Generator, demo: config.Demo, sites: list[str]) -> list[Finding | None]:
    """A finding for `lesion_fraction` of each site's patients, None for the others."""
    order = sorted(rng.permutation(len(sites)).tolist(), key=lambda index: sites[index])
    rank = np.arange(len(order) + 1) * demo.lesion_fraction
    ill = [index for index, before, after in zip(order, rank, rank[1:], strict=False) if int(after) > int(before)]
    low, high = np.log(demo.lesion_volume_ml)
    volumes = np.exp(low + (high - low) * _even(rng, len(ill)))
    weak, strong = demo.lesion_contrast
    contrasts = weak + (strong - weak) * _even(rng, len(ill))
    found: list[Finding | None] = [None] * len(sites)
    for index, volume, contrast in zip(ill, volumes, contrasts, strict=True):
        found[index] = Finding(float(volume), float(contrast))
    return found


def _even(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """`count` values spread evenly over 0..1, in random order."""
    return (rng.permutation(count) + 0.5) / max(count, 1)


def _some(rng: np.random.Generator, count: int, share: float) -> set[int]:
    return set(rng.permutation(count)[: round(share * count)].tolist())


def _grid(rng: np.random.Generator, demo: config.Demo) -> Grid:
    """Axial slices through the scanner's centre; a third of the patients' are tilted along the skull base."""
    spacing = rng.uniform(*FIELD_OF_VIEW_MM) / demo.matrix
    step = rng.uniform(*COVER_MM) / demo.slices
    tilt = rng.uniform(-14, 14) if rng.random() < 1 / 3 else 0.0
    turn = rotation((tilt, tilt * rng.uniform(-0.2, 0.2), 0.0))
    return grid((demo.slices, demo.matrix, demo.matrix), turn, (step, round(float(spacing), 4)))


def grid(shape: tuple[int, int, int], axes: npt.NDArray[np.float64], spacing_mm: tuple[float, float]) -> Grid:
    """Slices centred in the scanner: `axes` (3, 3) has the column, row and slice directions as columns (LPS);
    `spacing_mm` is between slices and in plane.
    """
    step, inplane = spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([inplane, inplane, step])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Grid(shape, affine)


def _head(rng: np.random.Generator) -> Head:
    size = rng.normal(1.0, 0.025)
    x, y, z = size * rng.normal(1.0, 0.02, size=3)
    nod, lean, turn = rng.normal(0, [4.0, 2.0, 3.0])
    across, along, up = rng.normal(0, [2.0, 4.0, 2.0])
    return Head(
        scale=(float(x), float(y), float(z)),
        rotation_deg=(float(nod), float(lean), float(turn)),
        shift_mm=(float(across), float(along), float(up)),
        warp_mm=float(rng.uniform(1.5, 3.0)),
        skull_mm=float(rng.uniform(4.5, 7.0)),
        scalp_mm=float(rng.uniform(3.5, 6.0)),
    )


def census(patients: list[Patient]) -> str:
    """One line about who takes part."""
    sites = Counter(patient.scanner.site for patient in patients)
    ill = sum(patient.finding is not None for patient in patients)
    places = ", ".join(f"{site} {count}" for site, count in sorted(sites.items()))
    return f"{len(patients)} patients, {ill} with lesions; {places}"
