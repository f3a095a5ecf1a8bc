"""Frozen features of every slice by layer, once; a probe on each layer; which backbone and layer serve best."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline.config import Params
from pipeline.files import read_csv, sha256_file, write_atomic, write_json
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer import advisor
from pipeline.transfer.candidates import Examined, Material, examine, of_candidate, of_stage
from pipeline.transfer.transferability import side_of

PREPARED, BACKBONE = Path("data/prepared"), Path("models/backbone")
OUT, PROBE, REPORTS = Path("data/features"), Path("models/probe"), Path("reports")
_ROWS = 4096  # of features, written at once


def features(params: Params) -> None:
    """Write `data/features/`, `models/probe/`, `reports/probe.json` and `reports/transferability.json`.

    Raises:
        ConfigError: a layer or candidate that does not exist.
        WeightsError, StemError: a candidate that cannot be used.
        TrainingError: a class that no training unit has.
        StorageError: the disk is full, or features.cache_gigabytes is too little.
    """
    material = material_of(params)
    chosen, others = examine_all(params, material)
    best = chosen.best
    _copy(chosen.features, OUT / "features.npy")
    best.probe.save(PROBE)
    units = len(material.train.patients)
    write_json(
        REPORTS / "probe.json",
        {
            "probe": {"layer": best.name, "units": units, **best.row()},
            "layers": {layer.name: layer.row() for layer in chosen.layers},
        },
    )
    known = advisor.facts([chosen, *others], material)
    advice = advisor.decide(known)
    write_json(REPORTS / "transferability.json", known | {"advice": advice})
    figures = best.figures
    say(
        f"probe: layer {best.name}, validation AUROC {figures['val_auroc']:.3f}, cross-validated "
        f"{figures['cv_auroc']:.3f} on {len(set(material.train.patients))} training patients"
    )
    for sentence in advisor.sentences(advice):
        say(f"advice: {sentence}")


def material_of(params: Params) -> Material:
    """The prepared slices and their units; test units are left out."""
    rows = read_csv(PREPARED / "slices.csv")
    encode = params.data.targets.encode
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")
    train, val = (side_of(rows, side, encode) for side in ("train", "val"))
    return Material(slices, sha256_file(PREPARED / "slices.npy"), train, val, params.data.task)


def examine_all(params: Params, material: Material) -> tuple[Examined, list[Examined]]:
    """The chosen backbone, and the candidates."""
    cache, settings = params.cache("features"), params.features
    networks = [of_stage(BACKBONE)]
    found = [examine(networks[0], material, settings, cache, params.seed, settings.layers)]
    for candidate in settings.candidates:
        networks.append(of_candidate(candidate, params.prepare.size, [network.label for network in networks]))
        say(f"features: candidate {networks[-1].label}, {networks[-1].facts['origin']}")
        found.append(examine(networks[-1], material, settings, cache, params.seed, None))
    return found[0], found[1:]


def _copy(forms: Sequence[npt.NDArray[np.floating]], target: Path) -> None:
    """Features of the cache side by side as an output; they may be more than memory holds.

    Not by `np.save`, whose error at a full disk does not say that it is full.
    """
    count, columns = len(forms[0]), sum(values.shape[1] for values in forms)

    def write(out: BinaryIO) -> None:
        header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": (count, columns)}
        np.lib.format.write_array_header_1_0(out, header)
        for start in range(0, count, _ROWS):
            out.write(np.concatenate([values[start : start + _ROWS] for values in forms], axis=1).data)

    write_atomic(target, write)


def _advise(_: Params) -> None:
    """Print the advice of the last run."""
    sys.stdout.writelines(f"{sentence}\n" for sentence in advisor.sentences(advisor.read(REPORTS)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.stages.features", description=__doc__)
    parser.add_argument("--advise", action="store_true", help="print the advice of the last run, and do nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    if _arguments().advise:
        runner.answer("advise", _advise)
    else:
        runner.run("features", features)
