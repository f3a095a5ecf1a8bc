"""What the figures of `validate` take on many patients: `python -m tests.benchmarks.validation`.

100,000 slices of 10,000 patients, answers of three models and of another release, all simulated: `evaluate` with
levels, its tables, and sixteen subgroups. Prints seconds and the peak of the memory of the process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.clinical import subgroups, tables
from pipeline.clinical.evaluation import Beside, Evaluation, evaluate
from pipeline.clinical.predictions import Other
from pipeline.clinical.units import Units
from pipeline.contract import Calibration
from pipeline.validation_config import Validate


def simulated(units: int, patients: int, resamples: int) -> Evaluation:
    """Measure models whose answers about slices of one patient resemble each other."""
    rng = np.random.default_rng(6)
    patient = np.arange(units) * patients // units
    chance = rng.beta(1, 3, size=patients)[patient]
    labels = (rng.random(units) < chance).astype(np.int64)[:, None]
    shared = rng.normal(size=patients)[patient][:, None]
    logits = {
        name: (strength * labels + 0.6 * shared + rng.normal(size=(units, 1)) - 1).astype(np.float32)
        for name, strength in (("finetuned", 1.8), ("probe", 1.4), ("scratch", 1.0))
    }
    names = [f"P-{place}" for place in patient]
    there = Units([f"slice-{place}" for place in range(units)], names, labels, np.arange(units), [])
    fixed = Calibration(temperature=1.0, threshold=0.4, rule="", model_sha256="", split_sha256="")
    series = [f"S-{place // 5}" for place in range(units)]
    other = logits["probe"] + 0.5 * logits["scratch"]
    beside = Beside(
        called={name: logits[name] > 0 for name in ("probe", "scratch")},
        others={"production": Other(other.astype(np.float64), other > 0.5)},
        parts={"series": series, "patient": names},
    )
    return evaluate(there, logits, fixed, Validate(bootstrap=resamples, confidence=0.95), 6, beside=beside)


def grouped(found: Evaluation, resamples: int) -> int:
    """How many groups were measured: patients of either sex, five ages, four vendors, two fields and three sites."""
    rng = np.random.default_rng(7)
    place = {patient: number for number, patient in enumerate(dict.fromkeys(found.units.patients))}
    of_unit = np.array([place[patient] for patient in found.units.patients])
    counts = {"sex": 2, "age_band": 5, "vendor": 4, "field_strength": 2, "site": 3}
    attributes = {name: [str(v) for v in rng.integers(0, n, len(place))[of_unit]] for name, n in counts.items()}
    scores = found.targets.scores(found.logits["finetuned"])
    answers = subgroups.Answers(found.units, scores, found.called, attributes)
    return len(subgroups.measure(answers, Validate(bootstrap=resamples, confidence=0.95)))


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=2_000)
    asked = parser.parse_args()
    before = time.perf_counter()
    found = simulated(asked.units, asked.patients, asked.resamples)
    measured = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tables.write_predictions(found, Path(folder))
        tables.write_plots(found, Path(folder))
    written = time.perf_counter()
    groups = grouped(found, asked.resamples)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{asked.units} units of {asked.patients} patients, {asked.resamples} resamples")
    print(f"figures {measured - before:.1f} s, tables {written - measured:.1f} s, {groups} subgroups", end=" ")
    print(f"{done - written:.1f} s; together {done - before:.1f} s, peak {peak:.2f} GiB")
    auroc = found.figures["finetuned"]["auroc"]
    print(f"AUROC {auroc['value']:.4f} ({auroc['low']:.4f} to {auroc['high']:.4f}), {auroc['method']}")


if __name__ == "__main__":
    main()
