"""Stage `export`: models/finetuned -> models/export/model.onnx and parity.json."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline.config import Params
from pipeline.engine import export as onnx_export
from pipeline.engine import parity
from pipeline.files import read_csv, sha256_file, write_json
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer.model import load

MODEL = Path("models/finetuned")
PREPARED = Path("data/prepared")
OUT = Path("models/export")


def export(params: Params) -> None:
    """Write the fine-tuned model as ONNX, and how far ONNX Runtime is from PyTorch on the validation slices.

    Raises:
        EngineError: the model cannot be exported, or the two disagree.
    """
    model = load(MODEL)
    path = OUT / "model.onnx"
    onnx_export.export(model, params.prepare.size, params.export.opset, path)
    say(f"export: {path}, opset {params.export.opset}, {path.stat().st_size / 1e6:.1f} MB")
    rows = [position for position, row in enumerate(read_csv(PREPARED / "slices.csv")) if row["split"] == "val"]
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")[rows]
    result = parity.compare(model, path, slices, params.export.tolerance)
    record = {
        **asdict(result),
        "tolerance": params.export.tolerance,
        "opset": params.export.opset,
        "pooling": model.head.pooling,
        "model_sha256": sha256_file(MODEL / "model.safetensors"),
        "onnx_sha256": sha256_file(path),
    }
    write_json(OUT / "parity.json", record)
    say(f"export: largest logit difference {result.max_abs_logit_difference:.1e} over {result.slices} slices")


if __name__ == "__main__":
    runner.run("export", export)
