"""Studies as a release may see them, drawn from a population that is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.monitoring import reference
from pipeline.monitoring.schema import Observed, StudyReport

FEATURES = 12
RELEASE = "ab" * 32
#: Manufacturer, field strength, share and brightness.
SCANNERS = (("Siemens", 3.0, 0.4, 900.0), ("GE", 1.5, 0.3, 2600.0), ("Philips", 1.5, 0.2, 4000.0))
SCANNERS = (*SCANNERS, ("Philips", 3.0, 0.1, 3000.0))


def studies(
    count: int, seed: int, prevalence: float = 0.5, gain: float = 1.0, classes: int = 1, **changed: Any
) -> list[Observed]:
    """`count` studies; `prevalence` of each class, `gain` of the scanners, and fields that are the same for all."""
    rng = np.random.default_rng(seed)
    shares = np.array([share for *_, share, _ in SCANNERS])
    found = []
    for _ in range(count):
        manufacturer, field, _, brightness = SCANNERS[rng.choice(len(SCANNERS), p=shares / shares.sum())]
        bright = brightness * gain * np.exp(rng.normal(scale=0.15))
        middle = bright * np.clip(rng.normal(0.6, 0.03), 0.45, 0.75)
        positive = rng.random(classes) < prevalence
        logits = rng.normal(scale=1.2, size=classes) + np.where(positive, 2.0, -2.0)
        embedding = rng.normal(size=FEATURES) * np.linspace(2, 0.2, FEATURES)
        embedding[0] += logits[0]
        probabilities = 1 / (1 + np.exp(-logits))
        known = {
            "manufacturer": manufacturer,
            "field_strength_t": field,
            "series": 1,
            "slices": 20,
            "intensity": (0.2 * middle, 0.8 * middle, middle, 0.5 * (middle + bright), bright),
            "seen": (float(rng.normal(0.3, 0.02)), float(rng.normal(0.2, 0.01))),
            "embedding": tuple(embedding.tolist()),
            "probabilities": tuple(probabilities.tolist()),
            "decisions": tuple((probabilities >= 0.5).tolist()),
        }
        found.append(Observed.model_validate(known | changed))
    return found


def reported(seen: Sequence[Observed], release_sha256: str = RELEASE, **changed: Any) -> list[StudyReport]:
    """Reports of studies, one an hour."""
    first = datetime(2026, 3, 1, tzinfo=UTC)
    around = {"release_sha256": release_sha256, "refused": 0, "quality": "not_assessed", **changed}
    return [
        StudyReport(**study.model_dump(), **({"hour": first + timedelta(hours=number)} | around))
        for number, study in enumerate(seen)
    ]


def made(onnx_sha256: str = "cd" * 32, seed: int = 0, count: int = 84, classes: int = 1) -> reference.Reference:
    """A reference of `count` studies, shaped by as many others."""
    training, others = studies(count, seed + 1000, classes=classes), studies(count, seed + 2000, classes=classes)
    return reference.make(onnx_sha256, "onnxruntime fp32", training, others)


def write(path: Path, onnx_sha256: str, classes: int = 1) -> Path:
    """The file of a reference for releases whose tests do not make one."""
    made(onnx_sha256, classes=classes).save(path)
    return path
