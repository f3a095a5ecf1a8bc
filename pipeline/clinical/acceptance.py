"""The criteria of params.yaml against the figures of reports/metrics.json."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.data_config import DEMO_STATED, Data
from pipeline.errors import AcceptanceError
from pipeline.validation_config import Criterion, Waiver

#: Asked of every model, whatever params.yaml asks: transfer must not have harmed, and that must be known.
NO_HARM = Criterion(metric="transfer.verdict", not_equal="negative")
#: No slice may be a near-duplicate of one on another side under another patient.
NO_DUPLICATES = Criterion(metric="leakage.near", max=0)
#: The threshold must be the one that was fixed before the test set was first opened for the model.
NOT_MOVED = Criterion(metric="test_set.threshold_moved", not_equal="true")
#: In the precision that was chosen on validation patients, test patients must be answered as they were.
CONFIRMED = Criterion(metric="precision.confirmed", not_equal="false")
ALWAYS = (NO_HARM, NO_DUPLICATES, NOT_MOVED, CONFIRMED)
#: The bound of what must be said in words.
STATED = "stated"


@dataclass(frozen=True)
class Result:
    """One criterion and how it went.

    Attributes:
        metric: the figure's dotted name.
        bound: what was asked of it, in words.
        value: what came; None when undefined or missing.
        passed: whether the criterion is met.
        reason: why it failed; None when it passed.
        waiver: of params.yaml; without effect where the criterion is met.
        unreachable: not even a model without an error could meet it with these test patients.
    """

    metric: str
    bound: str
    value: float | str | None
    passed: bool
    reason: str | None
    waiver: Waiver | None = None
    unreachable: bool = False

    @property
    def waived(self) -> bool:
        """Failed, and let through in writing."""
        return not self.passed and self.waiver is not None

    def record(self) -> dict[str, Any]:
        """As it stands in reports/acceptance.json."""
        waiver = None if self.waiver is None else self.waiver.model_dump()
        return {**vars(self), "waived": self.waived, "waiver": waiver}


def evaluate(criteria: Sequence[Criterion], metrics: Mapping[str, Any]) -> list[Result]:
    """Each criterion, and those of `ALWAYS`, against `metrics` (metrics.json); undefined or missing fails."""
    figures = dict(_flat(metrics))
    asked = [criterion.model_copy(update={"waiver": None}) for criterion in criteria]
    added = [criterion for criterion in ALWAYS if criterion not in asked]
    return [_judge(criterion, figures) for criterion in [*criteria, *added]]


def permission(data: Data) -> list[Result]:
    """Data without a stated source and licence make no release; the demo's words state nothing of other data."""
    unstated = {key: f"{why}; write in params.yaml the {key} of your own data" for key, why in data.unstated.items()}
    return [
        Result(f"data.{key}", STATED, getattr(data, key) or None, key not in unstated, unstated.get(key))
        for key in DEMO_STATED
    ]


def require(results: Sequence[Result]) -> None:
    """Stop here unless everything passed or is waived.

    Raises:
        AcceptanceError: its message names each criterion that failed, with its bound and value.
    """
    failed = [result for result in results if not result.passed and not result.waived]
    if failed:
        raise AcceptanceError(
            "; ".join(f"{result.metric} {result.bound}" for result in failed),
            "; ".join(f"{result.metric}: {result.reason}" for result in failed),
            f"{len(failed)} of {len(results)} criteria failed. See reports/report.html for why the model falls short; "
            "change a bound in the accept section of params.yaml only for a clinical reason, or have someone answer "
            "for it there by `waiver: {by: name, reason: text}`.",
        )


def _judge(criterion: Criterion, figures: Mapping[str, Any]) -> Result:
    name, bound = criterion.metric, _bound(criterion)
    value = figures.get(name)
    reason: str | None
    if name not in figures:
        near = difflib.get_close_matches(name, figures, n=1, cutoff=0.0)
        reason = f"no such figure in reports/metrics.json (the nearest is {near[0]})" if near else "no figures at all"
    elif value is None or (isinstance(value, float) and math.isnan(value)):
        value = None
        reason = f"undefined ({figures.get(_reason_of(name)) or 'no reason recorded'})"
    elif criterion.not_equal is not None:
        value = str(value).lower() if isinstance(value, bool) else value
        reason = f"is {value}" if str(value) == criterion.not_equal else None
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        value, reason = str(value), f"{value!r} is no number"
    else:
        met = value >= criterion.min if criterion.min is not None else value <= _number(criterion.max)
        reason = None if met else f"{value:.4g}"
    best = figures.get(f"reachable.{name}")
    unreachable = reason is not None and criterion.min is not None and best is not None and best < criterion.min
    if unreachable:
        reason = f"{reason}; even without an error these test patients give at most {best:.4g}: test more of them"
    # A figure that nobody wrote is a mistake in params.yaml, and no judgement of it can be waived.
    waiver = criterion.waiver if name in figures else None
    return Result(name, bound, value, reason is None, reason, waiver, unreachable)


def _bound(criterion: Criterion) -> str:
    if criterion.not_equal is not None:
        return f"other than {criterion.not_equal}"
    return f"at least {criterion.min:g}" if criterion.min is not None else f"at most {_number(criterion.max):g}"


def _number(bound: float | None) -> float:
    assert bound is not None  # config.Criterion has exactly one bound
    return bound


def _reason_of(name: str) -> str:
    """The reason stands beside the figure that it explains."""
    return f"{name.rpartition('.')[0]}.reason"


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
