"""A whole study in the benchmark of inference: from DICOM files to probabilities, by its parts."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np

from pipeline import config
from pipeline.dicom.load import load
from pipeline.dicom.scan import Scan
from pipeline.imaging.prepare import prepare
from pipeline.targets import calls
from tests.benchmarks import ingest_series
from tests.benchmarks.inference.ways import Files, Worker

ROOT = Path(__file__).resolve().parents[3]
#: Of a study, each a file of so many pixels a side.
SLICES, PIXELS = 24, 256
PARTS = ("read", "prepare", "network", "decide")


def measure(name: str, way: str, files: Files, folder: Path, studies: int) -> str:
    """Lines of Markdown: median ms of each part of a study, in the order in which a box does them.

    Files are in the page cache. The network runs in its worker's process, whose clock counts; what stands before and
    after it runs here, in one thread.
    """
    size = int(files.make[-1])
    transform = config.load(ROOT / "params.yaml").prepare.model_copy(update={"size": size})
    ingest_series.make(folder, PIXELS, 1, SLICES, compressed=False)
    worker = Worker(way, files)
    worker.wait()
    if worker.refused is not None:
        return f"A study is not measured: {way}: {worker.refused}\n"
    rows = []
    for number in range(studies + 1):
        marks = [time.perf_counter()]
        (scan,) = load(folder, workers=1)
        assert isinstance(scan, Scan)
        marks.append(time.perf_counter())
        slices = prepare(scan.volume, transform)
        marks.append(time.perf_counter())
        turn = worker.turn(slices, 0 if number else 3, 1, 60)
        begin = time.perf_counter()
        calls(turn.probabilities.astype(np.float64), 0.5)
        rows.append([*np.diff(marks), turn.seconds[0], time.perf_counter() - begin])
    worker.close()
    parts = 1000 * np.median(rows[1:], axis=0)
    lines = [f"- {part}: {taken:.1f} ms, {taken / parts.sum():.0%}" for part, taken in zip(PARTS, parts, strict=True)]
    outside = 1 - parts[PARTS.index("network")] / parts.sum()
    title = f"### {name}, a study of {SLICES} slices of {PIXELS} x {PIXELS} pixels in {way}"
    return "\n".join([title, "", *lines, f"- in all {parts.sum():.1f} ms, outside the network {outside:.0%}", ""])


def machine(threads: int) -> str:
    """The title of the table: which processor, what it can, how many threads were used, what ran."""
    import onnxruntime
    import openvino
    import torch

    told = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", told)
    can = [name for name in ("amx_bf16", "amx_int8", "avx512_fp16", "avx512_vnni") if name in told]
    versions = f"PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__}"
    return (
        f"{model[1] if model else 'a processor'} ({', '.join(can) or 'no matrix instructions'}), "
        f"{os.cpu_count()} cores, {threads} threads; {versions}\n"
    )
