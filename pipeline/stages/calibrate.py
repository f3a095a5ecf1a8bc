"""Stage `calibrate`: the fine-tuned model on validation patients -> models/calibration.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.calibrator import Calibration, Knots
from pipeline.clinical import calibration
from pipeline.clinical.pooling import unit_logits
from pipeline.clinical.thresholds import rule_name
from pipeline.clinical.units import units_of
from pipeline.config import Params
from pipeline.files import read_csv, sha256_file, write_json
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer.model import load
from pipeline.transfer.predict import rows

PREPARED = Path("data/prepared")
SPLIT = Path("data/split.csv")
MODEL = Path("models/finetuned")
OUT = Path("models/calibration.json")


def calibrate(params: Params) -> None:
    """Fix calibrator and threshold, with the hashes of the model and the split that they belong to.

    Raises:
        TrainingError: the model gives logits that are not finite.
        SplitError: a class that no validation unit has, or that all have.
    """
    targets = params.data.targets
    units = units_of(read_csv(PREPARED / "slices.csv"), "val", targets)
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")[units.rows]
    model = load(MODEL)
    settings = params.calibrate
    sd = settings.neighbours_sd if params.data.label_level == "slice" and model.head.pooling == "mean" else 0.0
    logits = unit_logits(rows(model, slices), units, model.head.pooling, sd)
    fitted = calibration.fit(units.labels, logits, settings, targets)
    found = Calibration(
        **vars(fitted),
        neighbours_sd=sd,
        rule=rule_name(settings.threshold, targets),
        model_sha256=sha256_file(MODEL / "model.safetensors"),
        split_sha256=sha256_file(SPLIT),
    )
    write_json(OUT, found.record())
    how = f"temperature {_listed(found.temperature)}" if found.knots is None else f"isotonic, {_counted(found.knots)}"
    threshold = "" if found.threshold is None else f", threshold {_listed(found.threshold)}"
    say(f"{how}{threshold} ({found.rule}) on {len(units.ids)} validation units of {len(set(units.patients))} patients")


def _counted(knots: Sequence[Knots]) -> str:
    return "knots " + ", ".join(str(len(each.logits)) for each in knots)


def _listed(values: float | list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in np.atleast_1d(values))


if __name__ == "__main__":
    runner.run("calibrate", calibrate)
