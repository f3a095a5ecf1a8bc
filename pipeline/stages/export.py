"""Stage `export`: models/finetuned and its calibration -> models/export/model.onnx and parity.json."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.clinical import calibration
from pipeline.config import Params
from pipeline.engine import export as onnx_export
from pipeline.engine import parity
from pipeline.engine.graph import ReleaseGraph
from pipeline.files import read_csv, sha256_file, write_json
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer.model import load

MODEL, CALIBRATION = Path("models/finetuned"), Path("models/calibration.json")
SPLIT = Path("data/split.csv")
PREPARED = Path("data/prepared")
OUT = Path("models/export")


def export(params: Params) -> None:
    """Write the calibrated model as ONNX, and how far ONNX Runtime is from PyTorch on the validation slices.

    Raises:
        ContractError: the calibration was changed, or is that of another model.
        EngineError: the model cannot be exported, or the two disagree.
    """
    model = load(MODEL)
    fixed = calibration.read(CALIBRATION, MODEL / "model.safetensors", SPLIT)
    network = ReleaseGraph(model, fixed, params.data.targets, params.prepare.size)
    path = OUT / "model.onnx"
    onnx_export.export(network, params.prepare.size, params.export.opset, path)
    say(f"export: {path}, opset {params.export.opset}, {path.stat().st_size / 1e6:.1f} MB")
    rows = [position for position, row in enumerate(read_csv(PREPARED / "slices.csv")) if row["split"] == "val"]
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")[rows]
    result = parity.compare(network, path, slices, params.export.tolerance)
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


if __name__ == "__main__":
    runner.run("export", export)
