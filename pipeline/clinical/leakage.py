"""Pictures that stand on two sides of the split under two patients, whole or changed a little.

A patient under two identifiers is on two sides without anybody seeing it: the split knows identifiers alone. So the
slices themselves are compared, every one with every one of the other sides. Equal pixels are a fact, and an error. A
near-duplicate is a finding, which fails acceptance unless somebody answers for it: two scans of one head, days apart,
may be as alike.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical import likeness
from pipeline.clinical.likeness import FLIPS, Frames, Pixels
from pipeline.clinical.split import SIDES
from pipeline.errors import DataError, LeakageError

#: Likeness from which two slices count as one. Of 62 patients of TCGA-LGG (2,260 slices) and of the 168 of the demo no
#: two slices of different patients on different sides go beyond 0.91. The same slice, flipped, is found in 99 of 100
#: cases; made smaller by up to 30 % or larger by 10 %, or with other contrast or noise, in 86 to 99 (more of it is cut
#: off by 20 %: 79). A patient under two identifiers has many slices, of which one is enough.
ALIKE = 0.93

#: Standard deviation, of 255 grey values, below which a slice shows too little to be told from another one.
PLAIN = 12.0
#: The same for equal pixels: nothing at all.
EMPTY = 1.0

_AGREEMENT = 0.55  # of fingerprints, from which a pair is looked at closely
_NEAREST = 4  # of each slice, so many at most
_BLOCK = 256
_NAMED = 20  # pairs of patients that the findings name

Rows = Sequence[Mapping[str, str]]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Finding:
    """Two patients on two sides with near-duplicate slices.

    Attributes:
        patients, sides: the two.
        slices: how many pairs of their slices are alike.
        likeness: of the most alike.
    """

    patients: tuple[str, str]
    sides: tuple[str, str]
    slices: int
    likeness: float


@dataclass(frozen=True)
class Leakage:
    """What was compared and found.

    Attributes:
        patients, slices: compared.
        plain: slices that show too little to be compared.
        near: pairs of near-duplicate slices.
        findings: the pairs of patients that they belong to, the most slices first.
    """

    patients: int
    slices: int
    plain: int
    near: int
    findings: list[Finding]

    def figures(self) -> dict[str, Any]:
        """As it stands in reports/metrics.json; equal pixels are an error, so that there are none here."""
        named = [{**vars(found), "likeness": round(found.likeness, 3)} for found in self.findings[:_NAMED]]
        return {**vars(self), "exact": 0, "findings": named}


def find(slices: Pixels, rows: Rows) -> Leakage:
    """Compare the slices of different sides; each patient stands on one (`split.check`).

    Args:
        slices: uint8 (N, size, size), may be memory-mapped.
        rows: of data/prepared/slices.csv, N of them.

    Raises:
        LeakageError: equal pixels under two patients on two sides.
        DataError: slices and rows are not of one run.
    """
    if len(slices) != len(rows):
        expected, found = f"{len(rows)} slices, as data/prepared/slices.csv has rows", f"{len(slices)} in slices.npy"
        raise DataError(expected, found, "Run `dvc repro prepare`: the two files are of different runs.")
    spread = np.concatenate([part.std((1, 2)) for _, part in _blocks(slices)]) if len(slices) else np.zeros(0)
    _refuse_equal(slices, rows, np.flatnonzero(spread >= EMPTY))
    shown = np.flatnonzero(spread >= PLAIN)
    pairs = _alike(slices, shown, np.array([row["split"] for row in rows]))
    return Leakage(
        patients=len({row["patient"] for row in rows}),
        slices=len(shown),
        plain=len(rows) - len(shown),
        near=len(pairs),
        findings=_findings(pairs, rows),
    )


def _blocks(slices: Pixels, places: Places | None = None) -> Iterator[tuple[Places, Pixels]]:
    """The slices at `places` (all), a few at a time: they may be more than there is memory for."""
    places = np.arange(len(slices)) if places is None else places
    for begin in range(0, len(places), _BLOCK):
        some = places[begin : begin + _BLOCK]
        yield some, np.asarray(slices[some])


def _refuse_equal(slices: Pixels, rows: Rows, places: Places) -> None:
    first: dict[bytes, Mapping[str, str]] = {}
    equal: list[tuple[Mapping[str, str], Mapping[str, str]]] = []
    for some, pictures in _blocks(slices, places):
        for place, picture in zip(some, pictures, strict=True):
            row = rows[place]
            other = first.setdefault(hashlib.sha256(picture.tobytes()).digest(), row)
            if other["split"] != row["split"]:
                equal.append((other, row))
    if equal:
        words = sorted(
            {f"{one['patient']} ({one['split']}) and {two['patient']} ({two['split']})" for one, two in equal}
        )
        more = f", and {len(words) - 3} more pairs" if len(words) > 3 else ""
        raise LeakageError(
            "no picture on two sides of the split",
            f"{len(equal)} slices with equal pixels under the patients {'; '.join(words[:3])}{more}",
            "It is one patient under two identifiers, or a scan that was filed twice: give both the same PatientID, or "
            "remove one, and run `dvc repro` again. `python -m pipeline.stages.ingest --resolve TOKEN` names them.",
        )


def _alike(slices: Pixels, places: Places, sides: npt.NDArray[np.str_]) -> list[tuple[int, int, float]]:
    """Pairs of near-duplicates across the sides, with their likeness."""
    if not len(places):
        return []
    frames, details = [], []
    for _, pictures in _blocks(slices, places):
        frames.append(likeness.frames(pictures))
        details.append(likeness.detail(pictures, frames[-1]))
    around = Frames(*(np.concatenate(values) for values in zip(*frames, strict=True)))
    grids = np.concatenate(details)
    found: list[tuple[int, int, float]] = []
    for one, two in combinations([np.flatnonzero(sides[places] == side) for side in SIDES], 2):
        few, many = sorted((one, two), key=len)
        near = _candidates(grids, few, many)
        for number, flip in enumerate(FLIPS):
            chosen = near[2] == number
            found += _confirmed(slices, places, around, (near[0][chosen], near[1][chosen]), flip)
    return sorted(found)


def _candidates(grids: likeness.Floats32, few: Places, many: Places) -> tuple[Places, Places, Places]:
    """For each of `few` those of `many` whose fingerprints agree most, and the flip (of `FLIPS`) that shows it."""
    theirs = likeness.fingerprints(grids[many]).T
    kept = min(_NEAREST, len(many))
    found: list[tuple[Places, Places, Places]] = []
    for begin in range(0, len(few) if kept else 0, _BLOCK):
        some = few[begin : begin + _BLOCK]
        agreement, flip = np.full((len(some), len(many)), -1, np.float32), np.zeros((len(some), len(many)), np.int8)
        for number, each in enumerate(FLIPS):
            now = likeness.fingerprints(likeness.flipped(grids[some], each)) @ theirs / likeness.BITS
            better = now > agreement
            agreement[better], flip[better] = now[better], number
        nearest = np.argpartition(-agreement, kept - 1, axis=1)[:, :kept]
        row, column = np.nonzero(np.take_along_axis(agreement, nearest, axis=1) >= _AGREEMENT)
        chosen = nearest[row, column]
        found.append((some[row], many[chosen], flip[row, chosen].astype(np.int64)))
    own, others, flips = ([part[kind] for part in found] for kind in range(3))
    nobody = np.zeros(0, np.int64)
    return np.concatenate([nobody, *own]), np.concatenate([nobody, *others]), np.concatenate([nobody, *flips])


def _confirmed(
    slices: Pixels, places: Places, around: Frames, near: tuple[Places, Places], flip: tuple[int, int]
) -> Iterator[tuple[int, int, float]]:
    """The candidates that are alike, by their places in `slices`, with their likeness."""
    size = slices.shape[1] - 1
    for begin in range(0, len(near[0]), _BLOCK):
        own, others = (each[begin : begin + _BLOCK] for each in near)
        row, column, spread = around.at(own)
        mirrored = Frames(row if flip[0] > 0 else size - row, column if flip[1] > 0 else size - column, spread)
        pictures = likeness.flipped(np.asarray(slices[places[own]]), flip)
        values = likeness.likeness(pictures, mirrored, np.asarray(slices[places[others]]), around.at(others), ALIKE)
        for one, two, value in zip(places[own], places[others], values, strict=True):
            if value >= ALIKE:
                yield int(one), int(two), float(value)


def _findings(pairs: Sequence[tuple[int, int, float]], rows: Rows) -> list[Finding]:
    by_patients: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for one, two, value in pairs:
        by_patients[rows[one]["patient"], rows[two]["patient"], rows[one]["split"], rows[two]["split"]].append(value)
    found = [Finding((a, b), (x, y), len(values), max(values)) for (a, b, x, y), values in by_patients.items()]
    return sorted(found, key=lambda finding: (-finding.slices, finding.patients))
