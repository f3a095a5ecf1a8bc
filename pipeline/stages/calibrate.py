"""Stage `calibrate`: the fine-tuned model on validation patients -> models/calibration.json."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.clinical import calibration
from pipeline.clinical.units import units_of
from pipeline.config import Params
from pipeline.contract import Calibration
from pipeline.files import read_csv, sha256_file, write_json
from pipeline.inference.pooling import pool
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer.model import load
from pipeline.transfer.predict import rows

PREPARED = Path("data/prepared")
SPLIT = Path("data/split.csv")
MODEL = Path("models/finetuned")
OUT = Path("models/calibration.json")


def calibrate(params: Params) -> None:
    """Fix temperature and threshold, with the hashes of the model and the split that they belong to.

    Raises:
        TrainingError: the model gives logits that are not finite.
        SplitError: the validation units are all of one class.
    """
    units = units_of(read_csv(PREPARED / "slices.csv"), "val")
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")[units.rows]
    model = load(MODEL)
    _, logits = pool(rows(model, slices), units.slice_units, model.head.pooling)
    rule = params.calibrate.threshold
    temperature, threshold = calibration.fit(units.labels, logits[:, 0], rule)
    found = Calibration(
        temperature=temperature,
        threshold=threshold,
        rule=calibration.rule_name(rule),
        model_sha256=sha256_file(MODEL / "model.safetensors"),
        split_sha256=sha256_file(SPLIT),
    )
    write_json(OUT, found.model_dump())
    say(f"temperature {temperature:.3f}, threshold {threshold:.3f} ({found.rule}) on {len(units.ids)} validation units")


if __name__ == "__main__":
    runner.run("calibrate", calibrate)
