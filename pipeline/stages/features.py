"""Frozen features of every slice, once, and a logistic probe on them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from pipeline.clinical.units import units_of
from pipeline.config import Params
from pipeline.files import read_csv, write_atomic, write_json
from pipeline.inference.pooling import pool_mean
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer import probe
from pipeline.transfer.model import from_backbone
from pipeline.transfer.predict import run

PREPARED, OUT, PROBE = Path("data/prepared"), Path("data/features"), Path("models/probe")


def features(params: Params) -> None:
    """Write `data/features/features.npy`, `models/probe/` and `reports/probe.json`."""
    model = from_backbone(Path("models/backbone"), params.prepare.size, 0.0, pretrained=True)
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")
    values = run(model.trunk, slices, params.features.batch_slices, "features")
    content = io.BytesIO()  # numpy's own writing to a file hides a full disk behind an error without a number
    np.save(content, values)
    write_atomic(OUT / "features.npy", lambda handle: handle.write(content.getbuffer()))
    units = units_of(read_csv(PREPARED / "slices.csv"), "train")
    _, pooled = pool_mean(values[units.rows], units.slice_units)
    patients = np.array(units.patients)
    fitted, facts = probe.fit(pooled, units.labels[:, 0], patients, params.features.probe_c, params.seed)
    fitted.save(PROBE)
    write_json(
        Path("reports/probe.json"), {"probe": facts | {"units": len(units.ids), "features": int(values.shape[1])}}
    )
    say(f"probe: cross-validated AUROC {facts['cv_auroc']:.3f} on {len(set(patients))} training patients")


if __name__ == "__main__":
    runner.run("features", features)
