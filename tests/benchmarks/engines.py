"""Every family of backbones as TensorRT engines in fp32, fp16, bf16 and int8: which build, how large, how long.

    python -m tests.benchmarks.engines [--family NAME ...] [--precision NAME ...] [--out CSV]

With random weights whose activations are those of a trained network, int8 calibrated on noise. `off` is the largest
difference of a probability to fp32 in ONNX Runtime on the CPU, with such weights; bf16 does not run there. Engines are
built by the TensorRT that is installed, for compute capability 8.9 where there is no GPU, and none is run. Exit 1 when
one does not build.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import torch

from pipeline.engine.export import export
from pipeline.engine.half import half
from pipeline.engine.quantise import quantise
from pipeline.errors import EngineError
from pipeline.fingerprint import Precision
from pipeline.inference import tensorrt
from pipeline.inference.answers import each
from pipeline.inference.backends import OnnxRuntime
from pipeline.transfer.backbone import feature_count
from pipeline.transfer.model import TransferModel
from tests import small_network
from tests.families import NINE, Family, one_channel_trunk

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
COLUMNS = ("family", "precision", "built", "onnx_bytes", "engine_bytes", "seconds", "off", "message")


def model_of(family: Family) -> TransferModel:
    """With a head whose logits are of the size of a decision."""
    trunk = one_channel_trunk(family)
    model = TransferModel(trunk, feature_count(trunk, family.size)).eval()
    with torch.no_grad():
        features = trunk(torch.rand(4, 1, family.size, family.size))
        model.head.logits.weight.copy_(torch.randn(1, features.shape[1]) / features.norm(dim=1).mean())
    return model


def noise(family: Family, count: int = 8) -> np.ndarray:
    """uint8 (count, size, size)."""
    return np.random.default_rng(3).integers(0, 256, (count, family.size, family.size), dtype=np.uint8)


def in_precision(graph: onnx.ModelProto, precision: Precision, slices: np.ndarray) -> onnx.ModelProto:
    """A graph in fp32, in another precision."""
    if precision == "fp32":
        return graph
    return quantise(graph, slices) if precision == "int8" else half(graph, precision)


def engines(family: Family, path: Path, precisions: Iterable[Precision]) -> Iterator[dict[str, Any]]:
    """The engine of a family's graph, which lies in `path`, in each precision."""
    graph, slices = onnx.load(path), noise(family)
    expected = OnnxRuntime(path).run(slices, each(len(slices))).probabilities
    builder = tensorrt.find()
    for precision in precisions:
        file = path.with_name(f"model_{precision}.onnx")
        row: dict[str, Any] = {"family": family.name, "precision": precision, "built": False}
        try:
            made = in_precision(graph, precision, slices)
            file.write_bytes(made.SerializeToString(deterministic=True))
            begin = time.perf_counter()
            target = tensorrt.targets(builder, ["8.9"])[0]
            built = tensorrt.build(builder, file, file.with_suffix(".engine"), target, (1, 4, 8))
            row["seconds"] = round(time.perf_counter() - begin, 1)
            row |= {"built": built.precision == precision, "message": f"{built.status}, {built.precision}"}
            row["engine_bytes"] = file.with_suffix(".engine").stat().st_size
            if precision != "bf16":
                found = OnnxRuntime(file).run(slices, each(len(slices))).probabilities
                row["off"] = float(f"{np.abs(found - expected).max():.1e}")
        except EngineError as error:
            row["message"] = str(error)
        yield row | {"onnx_bytes": file.stat().st_size if file.is_file() else 0}


def main() -> int:
    """Print a line an engine."""
    parser = argparse.ArgumentParser(description="Every family of backbones as TensorRT engines.")
    parser.add_argument("--family", nargs="*", choices=[family.name for family in NINE])
    parser.add_argument("--precision", nargs="*", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--out", type=Path, metavar="CSV")
    asked = parser.parse_args()
    rows = []
    for family in NINE:
        if asked.family and family.name not in asked.family:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            export(small_network.network(model_of(family), size=family.size), family.size, 20, path)
            for row in engines(family, path, asked.precision):
                print(*(f"{name}={row.get(name, '')}" for name in COLUMNS), flush=True)
                rows.append(row)
    if asked.out:
        with open(asked.out, "w", newline="") as handle:
            writer = csv.DictWriter(handle, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    lacking = [f"{row['family']} {row['precision']}" for row in rows if not row["built"]]
    print(f"{len(rows) - len(lacking)} of {len(rows)} built, none run; not built: {', '.join(lacking) or 'none'}")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
