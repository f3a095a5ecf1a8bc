"""How often 95 % intervals hold the truth: `python -m tests.benchmarks.coverage [--runs 2000]`.

Scores are normal, with a part that units of one patient share, so that AUROC and sensitivity are known exactly. Each
run draws new patients. With R runs the share that is measured has a standard error of sqrt(0.95 * 0.05 / R).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from pipeline.clinical import metrics
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
    """

    patients: int
    units: int = 1
    shared: float = 0.0
    auroc: float = 0.8
    mixed: bool = False

    @property
    def words(self) -> str:
        """For the table."""
        units = "one unit each" if self.units == 1 else f"{self.units} units each, {self.shared:g} shared"
        kind = ", labels mixed" if self.mixed else ""
        return f"{self.patients} patients, {units}{kind}, AUROC {self.auroc:g}"


SETTINGS = (
    Setting(100),
    Setting(200, auroc=0.9),
    Setting(60, 3, 0.6),
    Setting(100, 5, 0.8),
    Setting(100, 4, 0.5, mixed=True),
    Setting(200, 4, 0.7, auroc=0.9),
)
#: Truth of the threshold's sensitivity.
SENSITIVITY = 0.85


def covered(setting: Setting, runs: int, resamples: int, seed: int, naive: bool = False) -> tuple[float, float]:
    """Shares of the runs in which the intervals of AUROC and of sensitivity hold the truth.

    Args:
        naive: take units as independent, as if each were of a patient of its own.
    """
    rng, held = np.random.default_rng([seed, setting.patients, setting.units]), np.zeros(2)
    count = setting.patients * setting.units
    patient = np.arange(count) // setting.units
    shift = np.sqrt(2) * norm.ppf(setting.auroc)
    threshold = shift + norm.ppf(1 - SENSITIVITY)
    names = [f"p{place}" for place in (np.arange(count) if naive else patient)]
    for run in range(runs):
        labels = rng.integers(0, 2, count) if setting.mixed else patient % 2
        common = rng.normal(size=setting.patients)[patient]
        scores = np.sqrt(setting.shared) * common + np.sqrt(1 - setting.shared) * rng.normal(size=count)
        scores += shift * labels
        drawn = draw(names, resamples, 0.95, seed + run)
        area = metrics.auroc(labels, scores, drawn)
        share = metrics.sensitivity(labels, scores >= threshold, drawn)
        held += [area.low <= setting.auroc <= area.high, share.low <= SENSITIVITY <= share.high]
    auroc, sensitivity = held / runs
    return float(auroc), float(sensitivity)


def main() -> None:
    """The table, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    asked = parser.parse_args()
    print("| patients | AUROC | sensitivity |\n|---|---|---|")
    for setting in SETTINGS:
        auroc, sensitivity = covered(setting, asked.runs, asked.resamples, 1)
        print(f"| {setting.words} | {100 * auroc:.1f} % | {100 * sensitivity:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
