"""The three indicators of transfer: a higher start, a higher slope and a higher asymptote.

They are those of Torrey & Shavlik (2010, "Transfer Learning", in Handbook of Research on Machine Learning Applications,
p. 242), measured for the fine-tuned network against the control, the same network from random weights:

- Head start: the AUROC of what was transferred, before any part of the trunk has learnt, minus that of the control
  before any training. A new head on a transferred trunk answers alike for all (AUROC 0.5), so the head must learn
  first: the fine-tuned network counts at the epoch kept of those in which the head alone learnt, the trunk as it came
  (without such a phase: at row 0). The control is there what Torrey & Shavlik call an ignorant agent: a random trunk
  under an untrained head, 0.5. A head trained on a random trunk would do somewhat better than that.
- Time to threshold: the work until the validation AUROC first reaches the best that the control ever reached. Given is
  how many times the fine-tuned network's work the control's own way there was: above 1, transfer was sooner.
- Final level: the AUROC of the epoch that each training chose, and their difference; then the same on test patients.

All but the last are measured on validation patients, by whom epochs were chosen: optimistic for both networks, so they
explain the verdict and do not make it. Both networks meet the same resampled patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical.learning import Curve, control_had_less
from pipeline.clinical.ranking import ranked
from pipeline.clinical.resampling import Estimate, Floats, Resamples

_UNDEFINED = "a validation AUROC is undefined: a class is missing, or an output is not finite"
_NEVER = "the fine-tuned network never reached the control's best AUROC"
_NO_RISE = "the control never rose above its start"
_NO_WORK = "the level was reached before any such work, at least in some resamples"
#: In which the way to the threshold is counted.
CURRENCIES = ("passes", "slices", "epochs")


@dataclass(frozen=True)
class Comparison:
    """A figure of the fine-tuned network, that of the control, and what the one is worth over the other."""

    finetuned: float
    scratch: float
    gain: Estimate

    def figures(self) -> dict[str, Any]:
        """As it stands in reports/metrics.json."""
        return {"finetuned": round(self.finetuned, 6), "scratch": round(self.scratch, 6), **self.gain.figures()}


@dataclass(frozen=True)
class Indicators:
    """What the courses of the two trainings say.

    Attributes:
        curves: of `finetuned` and `scratch`.
        aurocs: (E,) validation AUROC after each row, of both.
        head_start: AUROC of frozen transferred trunk, of the untrained control, and the difference.
        frozen_row: of the fine-tuned curve, where the head start is measured.
        level: the control's best validation AUROC.
        sooner: by currency the work to that level, infinite where it was never reached, and the control's over the
            fine-tuned's. Its interval: 0 stands for never, an infinite bound for no work at all.
        reached: share of the resamples in which the fine-tuned network reached the level.
        final: validation AUROC of the chosen epochs and its difference.
    """

    curves: Mapping[str, Curve]
    aurocs: Mapping[str, Floats]
    head_start: Comparison
    frozen_row: int
    level: float
    sooner: Mapping[str, Comparison]
    reached: float
    final: Comparison

    @property
    def control_had_less(self) -> bool:
        """Whether the control's budget was smaller."""
        return control_had_less(self.curves["finetuned"], self.curves["scratch"])

    def figures(self) -> dict[str, Any]:
        """The part of reports/metrics.json under `transfer`."""
        return {
            "head_start": self.head_start.figures(),
            "time_to_threshold": {
                "level": round(self.level, 6),
                "reached": round(self.reached, 6),
                **{currency: ratio.figures() for currency, ratio in self.sooner.items()},
            },
            "final_level": self.final.figures(),
            "budget": {
                **{name: curve.budget for name, curve in self.curves.items()},
                "control_had_less": self.control_had_less,
            },
        }


def score(labels: npt.NDArray[np.number], scores: npt.NDArray[np.floating], resamples: Resamples) -> Floats:
    """(B,) resampled AUROC of (U, K) scores for (U, K) labels of 0 and 1: the mean over the K outputs.

    With one output it is the AUROC; with more, the macro average of one class against the rest. NaN where a class has
    no unit, or no unit is without it, or a score is not finite.
    """
    given = ranked(labels, scores, resamples)
    return given.drawn[0] if np.isfinite(scores).all() else np.full(len(resamples.counts), np.nan)


def measure(labels: npt.NDArray[np.number], curves: Mapping[str, Curve], drawn: Resamples) -> Indicators:
    """The indicators on U validation units.

    Args:
        labels: (U, K), 0 or 1.
        curves: of `finetuned` and `scratch`.
        drawn: resamples of the patients behind the units.
    """
    # The first "resample" is the patients as they are, so that figures and their intervals take one way.
    counts = np.concatenate([np.ones_like(drawn.counts[:1]), drawn.counts])
    everyone = replace(drawn, counts=counts)
    areas = {
        name: np.stack([score(labels, given, everyone) for given in curve.scores]) for name, curve in curves.items()
    }
    aurocs = {name: values[:, 0] for name, values in areas.items()}
    frozen = curves["finetuned"].frozen_rows
    frozen_row = max((row for row in curves["finetuned"].chosen if row in frozen), default=0)
    ends = {name: values[curves[name].kept] for name, values in areas.items()}
    level, rows = _crossings(areas)
    return Indicators(
        curves=curves,
        aurocs=aurocs,
        head_start=_difference(areas["finetuned"][frozen_row], areas["scratch"][0], drawn, len(labels)),
        frozen_row=frozen_row,
        level=float(level[0]),
        sooner={
            currency: _ratio(
                _spent(curves["finetuned"].work[currency], rows["finetuned"]),
                _spent(curves["scratch"].work[currency], rows["scratch"]),
                drawn,
                len(labels),
            )
            for currency in CURRENCIES
        },
        reached=_share(rows["finetuned"][1:] >= 0, np.isfinite(level[1:])),
        final=_difference(ends["finetuned"], ends["scratch"], drawn, len(labels)),
    )


def _difference(finetuned: Floats, scratch: Floats, drawn: Resamples, n: int) -> Comparison:
    """Of two (1 + B,) figures, of which the first is that of the patients as they are."""
    gain = finetuned - scratch
    low, high, reason = drawn.interval(gain[1:]) if np.isfinite(gain[0]) else (np.nan, np.nan, _UNDEFINED)
    return Comparison(float(finetuned[0]), float(scratch[0]), Estimate(float(gain[0]), low, high, n, reason))


def _crossings(areas: Mapping[str, Floats]) -> tuple[Floats, dict[str, npt.NDArray[np.int64]]]:
    """The control's best AUROC and the first row of each curve that reaches it, -1 for never; all (1 + B,).

    Args:
        areas: (E, 1 + B) by curve.
    """
    defined = np.isfinite(areas["scratch"])
    level = np.where(defined.any(0), np.max(np.where(defined, areas["scratch"], -np.inf), axis=0), np.nan)
    reached = {name: values >= level for name, values in areas.items()}
    return level, {name: np.where(there.any(0), there.argmax(0), -1) for name, there in reached.items()}


def _spent(work: Floats, rows: npt.NDArray[np.int64]) -> Floats:
    """The work up to each row; infinite where there is none."""
    return np.where(rows >= 0, work[rows], np.inf)


def _ratio(finetuned: Floats, scratch: Floats, drawn: Resamples, n: int) -> Comparison:
    """How many times the fine-tuned network's work (1 + B,) the control's is: 0 for never, infinite for no work."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(np.isfinite(scratch) & (scratch > 0), scratch / finetuned, np.nan)
    value, (low, high, reason) = float(ratio[0]), _bounds(ratio[1:], drawn)
    if not np.isfinite(scratch[0]):
        reason = _UNDEFINED
    elif np.isnan(value):
        reason = _NO_RISE
    elif value == 0:
        value, reason = np.nan, _NEVER
    elif np.isinf(value) or np.isinf(high):
        reason = _NO_WORK
    return Comparison(float(finetuned[0]), float(scratch[0]), Estimate(value, low, high, n, reason))


def _bounds(ratios: Floats, drawn: Resamples) -> tuple[float, float, str | None]:
    """As `Resamples.interval`, for figures that may be infinite: bounds are resampled figures, never between two."""
    known = np.sort(ratios[~np.isnan(ratios)])
    if len(known) < len(ratios) / 2:
        return np.nan, np.nan, "the level is undefined in most resamples"
    tail = (1 - drawn.confidence) / 2 * (len(known) - 1)
    return float(known[int(np.floor(tail))]), float(known[-1 - int(np.floor(tail))]), None


def _share(reached: npt.NDArray[np.bool_], defined: npt.NDArray[np.bool_]) -> float:
    return float(np.mean(reached[defined])) if defined.any() else float("nan")
