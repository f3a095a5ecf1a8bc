"""Does the saliency point at the lesion? The pointing game (Zhang et al. 2018, Int J Comput Vis 126:1084).

Of each slice with a lesion the saliency's highest point hits when it lies inside the mask; the game's tolerance of some
pixels around it is not granted. A random point inside the head would hit as often as the mask's share of the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical.resampling import draw
from pipeline.contract import Transform
from pipeline.errors import DataError
from pipeline.imaging import nifti
from pipeline.imaging.prepare import regions
from pipeline.progress import track

#: More slices than this are not needed; they are then taken evenly.
MOST_SLICES = 2000

Rows = Sequence[Mapping[str, str]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lesions:
    """Slices on which a lesion is drawn.

    Attributes:
        places: int64 (L,), which of the rows they are.
        patients: of each (L).
        masks: bool (L, size, size), the lesion; never empty.
        chance: float64 (L,), the lesion's share of the head.
    """

    places: npt.NDArray[np.int64]
    patients: list[str]
    masks: Mask
    chance: npt.NDArray[np.float64]


def read(folder: Path, rows: Rows, paths: Mapping[str, str], transform: Transform) -> Lesions:
    """The lesions drawn on slices, as far as there are masks of their series.

    Args:
        folder: of masks, `<series>.nii.gz`, in the place of their volumes.
        rows: of data/prepared/slices.csv.
        paths: of the volumes, by series.
        transform: by which the slices were made.

    Raises:
        DataError: a mask that is no NIfTI volume, or lies outside its volume; the message names the series' pseudonym.
    """
    by_series: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        by_series.setdefault(row["series"], []).append(place)
    drawn = {series: folder / f"{series}.nii.gz" for series in by_series}
    places, masks, chance = [], [], []
    for series, path in track(sorted((s, p) for s, p in drawn.items() if p.is_file()), "masks"):
        lesion, head = _regions(series, path, Path(paths[series]), transform)
        for place in by_series[series]:
            index = int(rows[place]["slice_index"])
            inside = lesion[index] & head[index]
            if inside.any():
                places.append(place)
                masks.append(inside)
                chance.append(inside.sum() / head[index].sum())
    size = transform.size
    kept = _evenly(len(places))
    return Lesions(
        places=np.array(places, dtype=np.int64)[kept],
        patients=[rows[places[k]]["patient"] for k in kept],
        masks=np.array([masks[k] for k in kept], dtype=bool).reshape(-1, size, size),
        chance=np.array(chance, dtype=np.float64)[kept],
    )


def _regions(series: str, mask: Path, volume: Path, transform: Transform) -> tuple[Mask, Mask]:
    try:
        return regions(nifti.load(volume), nifti.load(mask), transform)
    except DataError as error:
        raise DataError(error.expected, f"{error.found} (mask of series {series})", error.remedy) from error


def _evenly(count: int) -> npt.NDArray[np.int64]:
    """Places of at most `MOST_SLICES` among `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_SLICES)).round().astype(np.int64))


def figures(
    heats: npt.NDArray[np.float32], lesions: Lesions, resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """The hits of the pointing game and those of chance, and their difference, with intervals over patients.

    Args:
        heats: (L, size, size), the saliency of the slices of `lesions`; where it is 0 everywhere it points at nothing,
            which is a miss.
    """
    count = len(heats)
    peaks = heats.reshape(count, -1).argmax(axis=1)
    hits = lesions.masks.reshape(count, -1)[np.arange(count), peaks] & (heats.reshape(count, -1).max(axis=1) > 0)
    drawn = draw(lesions.patients, resamples, confidence, seed)
    weights = np.asarray(drawn.counts, dtype=np.float64)
    sizes = drawn.per_patient(np.ones(count))
    found: dict[str, Any] = {"slices": count, "patients": drawn.patients}
    values = {"pointing_game": hits.astype(np.float64), "chance": lesions.chance, "gain": hits - lesions.chance}
    for name, each in values.items():
        low, high, reason = drawn.interval(weights @ drawn.per_patient(each) / (weights @ sizes))
        if drawn.patients < 2:
            low, high, reason = np.nan, np.nan, "all slices are of one patient"
        found[name] = {"value": round(float(each.mean()), 6), "low": round(low, 6), "high": round(high, 6)}
        found[name] |= {"method": "percentiles of the patient bootstrap"} if reason is None else {"reason": reason}
    return found
