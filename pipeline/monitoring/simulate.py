"""`python -m pipeline.monitoring.simulate RELEASE REPORTS_DIR`: reports of a box that is none, to try alarms with.

Studies are drawn from the release's reference, so they go together as real ones do: scanner, brightness, embedding and
answer are of one study. A shift changes from which studies is drawn, or what they measure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from pipeline import contract
from pipeline.errors import DataError, PipelineError
from pipeline.files import sha256_file
from pipeline.inference import signature
from pipeline.monitoring import reports
from pipeline.monitoring.reference import FILE, Floats, Reference, read
from pipeline.monitoring.schema import Manufacturer, StudyReport
from pipeline.progress import say

Shift = Literal["none", "vendor", "field strength", "intensity", "prevalence"]
SHIFTS: tuple[Shift, ...] = get_args(Shift)

#: Studies a day, from this one on.
A_DAY, FIRST_DAY = 24, datetime(2026, 1, 1, tzinfo=UTC)
#: Under the shift of intensity, the head is so many times as bright, and its middle nearer to its bright part.
BRIGHTER, FLATTER = 1.5, 1.1
#: Under the shift of prevalence, the odds of a positive study are so many times those before.
RARER = 0.1


def stream(
    reference: Reference, release_sha256: str, count: int, seed: int, shift: Shift = "none", after: int = 0
) -> Iterator[StudyReport]:
    """Reports of studies drawn from a reference.

    Args:
        reference: of the release.
        release_sha256: of its SHA256SUMS.
        count: how many.
        seed: equal arguments give equal reports.
        shift: what changes.
        after: studies before it changes.

    Raises:
        DataError: the reference cannot show this shift, as all of its studies are alike in it.
    """
    rng = np.random.default_rng(seed)
    chances = {False: _chances(reference, "none"), True: _chances(reference, shift)}
    for number in range(count):
        shifted = number >= after
        row = int(rng.choice(len(reference.studies), p=chances[shifted]))
        brighter, flatter = (BRIGHTER, FLATTER) if shifted and shift == "intensity" else (1.0, 1.0)
        hour = FIRST_DAY + timedelta(hours=number * 24 // A_DAY)
        yield _report(reference, row, release_sha256, hour, (brighter, flatter), rng)


def _chances(reference: Reference, shift: Shift) -> Floats:
    """How likely each study of the reference is to be drawn."""
    studies = reference.studies
    weights = np.ones(len(studies))
    if shift in ("vendor", "field strength"):
        words = studies.manufacturers if shift == "vendor" else studies.fields
        names, counts = np.unique(words, return_counts=True)
        if len(names) == 1:
            raise DataError(f"studies that differ in {shift}", f"all of {names[0]}", "Choose another shift.")
        weights = (words == names[counts.argmin()]).astype(float)
    elif shift == "prevalence":
        positive = studies.decisions.any(axis=1)
        if positive.all() or not positive.any():
            raise DataError("positive and negative studies", "one kind alone", "Choose another shift.")
        weights = np.where(positive, RARER, 1.0)
    return np.asarray(weights / weights.sum())


def _report(
    reference: Reference,
    row: int,
    release_sha256: str,
    hour: datetime,
    factors: tuple[float, float],
    rng: np.random.Generator,
) -> StudyReport:
    """A report whose scores are those of a study of the reference, but for two factors of brightness and midtone."""
    shape, studies = reference.shape, reference.studies
    manufacturer, field = str(studies.manufacturers[row]), str(studies.fields[row])
    bright = float(np.exp(studies.brightness[row] + shape.usual_brightness(manufacturer, field))) * factors[0]
    middle = bright * min(0.99, float(studies.midtone[row]) * factors[1])
    direction = rng.standard_normal(len(shape.centre))
    direction -= shape.axes @ (shape.axes.T @ direction)
    beside = studies.residual[row] * direction / max(float(np.linalg.norm(direction)), 1e-12)
    embedding = shape.centre + shape.axes @ (studies.places[row] * shape.spread) + beside
    mean, contrast = studies.seen[row].tolist()
    return StudyReport(
        manufacturer=cast(Manufacturer, manufacturer),
        field_strength_t=None if field == "unknown" else float(field.removesuffix(" T")),
        series=1,
        slices=20,
        # Only the median and the last are watched.
        intensity=(0.3 * middle, 0.8 * middle, middle, (middle + bright) / 2, bright),
        seen=(min(1.0, mean * factors[1]), contrast),
        embedding=tuple(embedding.tolist()),
        probabilities=tuple(studies.probabilities[row].tolist()),
        decisions=tuple(studies.decisions[row].tolist()),
        hour=hour,
        release_sha256=release_sha256,
        refused=0,
        quality="not_assessed",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when the reports are written, 1 when the release cannot be used."""
    asked = _parser().parse_args(arguments)
    try:
        signature.check_sums(asked.release)
        contract.load(asked.release)
        reference, sha256 = read(asked.release / FILE), sha256_file(asked.release / signature.SUMS)
        for report in stream(reference, sha256, asked.studies, asked.seed, asked.shift, asked.after):
            reports.append(asked.reports, report)
    except PipelineError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.monitoring.simulate", description="Simulated reports.")
    parser.add_argument("release", type=Path, metavar="RELEASE", help="a release folder")
    parser.add_argument("reports", type=Path, metavar="REPORTS_DIR", help="where the reports go")
    parser.add_argument("--studies", type=int, default=400, help="how many (default: 400)")
    parser.add_argument("--shift", choices=SHIFTS, default="none", help="what changes (default: nothing)")
    parser.add_argument("--after", type=int, default=0, help="studies before it changes (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
