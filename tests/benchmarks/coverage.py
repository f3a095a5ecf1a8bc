"""How often 95 % intervals hold the truth: `python -m tests.benchmarks.coverage [--runs 2000]`.

Scores are normal, with a part that units of one patient share, so that AUROC, average precision and sensitivity are
known exactly. Each run draws new patients. With R runs the share that is measured has a standard error of
sqrt(0.95 * 0.05 / R).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from pipeline.clinical import metrics
from pipeline.clinical.ranking import ranked
from pipeline.clinical.resampling import draw


@dataclass(frozen=True)
class Setting:
    """Whom each run draws.

    Attributes:
        patients: how many.
        units: of each patient.
        shared: share of the variance that units of a patient have in common.
        auroc: true.
        mixed: whether units of one patient differ in their label; else patients are positive or negative by turns.
        sensitivity: true, at the threshold.
    """

    patients: int
    units: int = 1
    shared: float = 0.0
    auroc: float = 0.8
    mixed: bool = False
    sensitivity: float = 0.85

    @property
    def shift(self) -> float:
        """Of the positives' scores."""
        return float(np.sqrt(2) * norm.ppf(self.auroc))

    @property
    def average_precision(self) -> float:
        """True, as half of the units are positive: the integral of precision over recall."""
        cuts = np.linspace(self.shift + 8, -8, 200_001)
        recall, fallout = norm.sf(cuts - self.shift), norm.sf(cuts)
        return float(np.trapezoid(recall / (recall + fallout), recall))

    @property
    def words(self) -> str:
        """For the table."""
        units = "one unit each" if self.units == 1 else f"{self.units} units each, {self.shared:g} shared"
        kind = ", labels mixed" if self.mixed else ""
        truths = f"AUROC {self.auroc:g}, sensitivity {100 * self.sensitivity:.0f} %"
        return f"{self.patients} patients, {units}{kind}, {truths}"


SETTINGS = (
    Setting(100),
    Setting(200, auroc=0.9),
    Setting(60, 3, 0.6),
    Setting(100, 5, 0.8),
    Setting(100, 4, 0.5, mixed=True),
    Setting(200, 4, 0.7, auroc=0.9),
    Setting(40, 10, 0.7, auroc=0.9, mixed=True),
    Setting(16, 30, 0.7, mixed=True),
    Setting(20, 30, 0.5, auroc=0.97, mixed=True),
    Setting(40, 10, 0.8, sensitivity=0.95),
    Setting(80, 5, 0.8, sensitivity=0.95),
)


def covered(setting: Setting, runs: int, resamples: int, seed: int, naive: bool = False) -> dict[str, float]:
    """Shares of the runs in which the interval of each figure holds the truth.

    Args:
        naive: take units as independent, as if each were of a patient of its own.
    """
    rng = np.random.default_rng([seed, setting.patients, setting.units])
    count = setting.patients * setting.units
    patient = np.arange(count) // setting.units
    threshold = setting.shift + norm.ppf(1 - setting.sensitivity)
    names = [f"p{place}" for place in (np.arange(count) if naive else patient)]
    truths = {
        "AUROC": setting.auroc,
        "average precision": setting.average_precision,
        "sensitivity": setting.sensitivity,
    }
    held = dict.fromkeys(truths, 0)
    for run in range(runs):
        labels = rng.integers(0, 2, count) if setting.mixed else patient % 2
        common = rng.normal(size=setting.patients)[patient]
        scores = np.sqrt(setting.shared) * common + np.sqrt(1 - setting.shared) * rng.normal(size=count)
        scores += setting.shift * labels
        drawn = draw(names, resamples, 0.95, seed + run)
        given = ranked(labels, scores, drawn)
        found = {
            "AUROC": metrics.auroc_of(given),
            "average precision": metrics.average_precision_of(given),
            "sensitivity": metrics.sensitivity(labels, scores >= threshold, drawn),
        }
        for name, truth in truths.items():
            held[name] += found[name].low <= truth <= found[name].high
    return {name: times / runs for name, times in held.items()}


def main() -> None:
    """The table, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    asked = parser.parse_args()
    print("| patients | AUROC | average precision | sensitivity |\n|---|---|---|---|")
    for setting in SETTINGS:
        found = covered(setting, asked.runs, asked.resamples, 1)
        print(
            f"| {setting.words} | " + " | ".join(f"{100 * share:.1f} %" for share in found.values()) + " |", flush=True
        )


if __name__ == "__main__":
    main()
