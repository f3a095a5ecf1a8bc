"""Stage `export`: models/finetuned and its calibration -> models/export/, graphs and the precision ladder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.calibrator import Calibration
from pipeline.clinical import calibration
from pipeline.clinical.report import environment
from pipeline.clinical.resampling import draw
from pipeline.clinical.units import Units, units_of
from pipeline.config import Params
from pipeline.engine import export as onnx_export
from pipeline.engine import ladder, parity, rungs, timing
from pipeline.engine.graph import ReleaseGraph
from pipeline.files import read_csv, sha256_file, write_json
from pipeline.inference.answers import Slices
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer.model import load

MODEL, CALIBRATION = Path("models/finetuned"), Path("models/calibration.json")
SPLIT = Path("data/split.csv")
PREPARED = Path("data/prepared")
OUT = Path("models/export")
#: Training slices by which int8 is calibrated, at most, evenly spread.
_CALIBRATED_ON = 256


def export(params: Params) -> None:
    """Write the calibrated model as ONNX, how far ONNX Runtime is from PyTorch, and the precision ladder.

    The graphs and parity.json are the same bytes for equal inputs; ladder.json holds times, and so the choice between
    rungs that are nearly as fast, of the machine that it was climbed on.

    Raises:
        ContractError: the calibration was changed, or is that of another model.
        EngineError: the model cannot be exported, the two disagree, or there are no training slices.
    """
    model = load(MODEL)
    fixed = calibration.read(CALIBRATION, MODEL / "model.safetensors", SPLIT)
    network = ReleaseGraph(model, fixed, params.data.targets, params.prepare.size)
    path = OUT / "model.onnx"
    onnx_export.export(network, params.prepare.size, params.export.opset, path)
    say(f"export: {path}, opset {params.export.opset}, {path.stat().st_size / 1e6:.1f} MB")
    rows = read_csv(PREPARED / "slices.csv")
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")
    units = units_of(rows, "val", params.data.targets)
    own = slices[units.rows]
    result = parity.compare(network, path, own, params.export.tolerance)
    record = {
        **asdict(result),
        "tolerance": params.export.tolerance,
        "opset": params.export.opset,
        "outputs": network.names,
        "pooling": model.head.pooling,
        "model_sha256": sha256_file(MODEL / "model.safetensors"),
        "onnx_sha256": sha256_file(path),
    }
    write_json(OUT / "parity.json", record)
    say(f"export: largest logit difference {result.max_abs_logit_difference:.1e} over {result.slices} slices")
    training = np.flatnonzero([row["split"] == "train" for row in rows])
    _climb(params, fixed, units, own, slices[training[:: -(-len(training) // _CALIBRATED_ON) or 1]])


def _climb(params: Params, fixed: Calibration, units: Units, slices: Slices, training: Slices) -> None:
    """The precision ladder on validation units: ladder.json."""
    rules, confidence = params.export.precision, params.validate_.confidence
    judge = ladder.Judge(
        units,
        params.data.targets,
        fixed.threshold,
        draw(units.patients, 0, confidence, params.seed),
        ladder.Asked(rules.band, rules.auroc_change),
        fixed.neighbours_sd,
    )
    found = rungs.Climb(OUT, judge, slices, training).run(rungs.wanted(rules.rungs))
    counts = {"units": len(units.ids), "patients": judge.resamples.patients}
    usual = {"slices_of_a_call": len(timing.usual(slices, units)[0])}
    record = {
        **found.figures(),
        "asked": asdict(judge.asked),
        "validation": {**counts, **usual, "confidence": confidence},
        "machine": environment.machine(),
    }
    write_json(OUT / "ladder.json", record)
    for rung in found.rungs:
        say(f"export: {ladder.line(rung)}")
    runs = ladder.chosen(found.rungs)
    say(f"export: {runs.runtime} in {runs.precision} is chosen")


if __name__ == "__main__":
    runner.run("export", export)
