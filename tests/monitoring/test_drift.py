"""Streams of studies from a known population: no alarm without a shift, and each shift by the monitor that it is of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.errors import ContractError, DataError
from pipeline.monitoring import drift, reference
from pipeline.monitoring.quantities import MONITORS
from pipeline.monitoring.schema import Observed
from tests import observed

CLASSES = ["lesion"]


def _alarms(made: reference.Reference, stream: list[Observed], classes: list[str] = CLASSES) -> dict[str, int]:
    """The study of the first alarm of each monitor that has one."""
    found: dict[str, int] = {}
    for one in drift.watch(made, stream, classes, observed.RELEASE):
        for crossing in one.course.crossings[:1]:
            monitor = one.quantity.monitor
            found[monitor] = min(crossing.study, found.get(monitor, crossing.study))
    return found


def test_the_limits_of_all_quantities_share_the_rate_of_false_alarms() -> None:
    watched = drift.watch(observed.made(), observed.studies(5, 0), CLASSES, observed.RELEASE)
    assert sum(1 / one.limit for one in watched) == pytest.approx(1 / drift.STUDIES_PER_FALSE_ALARM)
    for monitor in MONITORS:
        own = sum(1 / one.limit for one in watched if one.quantity.monitor == monitor)
        assert own == pytest.approx(1 / drift.STUDIES_PER_FALSE_ALARM / len(MONITORS)), monitor


def test_at_most_one_false_alarm_in_2000_studies_is_seen() -> None:
    """In 4 streams of 2,000, each against its own reference of 40 studies."""
    counts = []
    for seed in range(4):
        watched = drift.watch(
            observed.made(seed=seed, count=40), observed.studies(2000, seed), CLASSES, observed.RELEASE
        )
        counts.append(sum(len(one.course.crossings) for one in watched))
    assert np.mean(counts) <= 1


@pytest.mark.parametrize(
    ("monitor", "shift"),
    [
        ("vendor", {"manufacturer": "Canon"}),
        ("vendor", {"manufacturer": "GE"}),
        ("field strength", {"field_strength_t": 7.0}),
        ("field strength", {"field_strength_t": 3.0}),
        ("intensity", {"gain": 1.5}),
        ("intensity", {"seen": (0.36, 0.2)}),
        ("output", {"prevalence": 0.05}),
        ("output", {"prevalence": 0.95}),
        ("embedding", {"embedding": tuple([0.0] * (observed.FEATURES - 1) + [3.0])}),
    ],
    ids=str,
)
def test_a_shift_is_found_within_200_studies_by_the_monitor_that_it_is_of(monitor: str, shift: dict[str, Any]) -> None:
    for seed in range(3):
        before = observed.studies(100, seed)
        found = _alarms(observed.made(seed=seed), [*before, *observed.studies(200, seed + 500, **shift)])
        assert 100 < found[monitor] <= 300


def test_every_class_has_its_output() -> None:
    made = observed.made(classes=3)
    shifted = [
        study.model_copy(update={"probabilities": (*study.probabilities[:2], 0.999), "decisions": (False, False, True)})
        for study in observed.studies(150, 0, classes=3)
    ]
    watched = drift.watch(made, shifted, ["low", "mid", "high"], observed.RELEASE)
    names = {one.quantity.name for one in watched if one.course.crossings}
    assert {"logit of high", "positive decisions of high"} <= names
    assert "logit of low" not in names


def test_a_single_scanner_is_watched_for_others() -> None:
    known = {"manufacturer": "GE", "field_strength_t": None}
    made = reference.make("cd" * 32, "cpu", observed.studies(40, 1, **known), observed.studies(40, 2, **known))
    quiet, other = observed.studies(60, 3, **known), observed.studies(60, 4, manufacturer="UIH", field_strength_t=1.5)
    assert "vendor" not in _alarms(made, quiet)
    assert {"vendor", "field strength"} <= set(_alarms(made, other))


def test_no_report_is_no_evidence() -> None:
    assert _alarms(observed.made(), []) == {}


def test_reports_of_another_network_are_refused() -> None:
    other = [study.model_copy(update={"embedding": (0.0, 1.0)}) for study in observed.studies(3, 0)]
    with pytest.raises(DataError, match="embeddings of 12 values"):
        _alarms(observed.made(), other)
    with pytest.raises(DataError, match="probabilities of 1 class"):
        _alarms(observed.made(), observed.studies(3, 0, classes=2))


def test_a_reference_is_the_same_after_reading_and_equal_ones_are_equal_bytes(tmp_path: Any) -> None:
    made = observed.made()
    for name in ("one", "two"):
        made.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    stream = observed.studies(30, 5)
    kept = reference.read(tmp_path / "one")
    first, again = (
        [one.course.evidence.tolist() for one in drift.watch(each, stream, CLASSES, observed.RELEASE)]
        for each in (made, kept)
    )
    assert first == again
    (tmp_path / "one").write_bytes(b"PK")
    with pytest.raises(ContractError, match="a reference of studies"):
        reference.read(tmp_path / "one")


def test_too_few_patients_make_no_reference() -> None:
    with pytest.raises(DataError, match="two training patients"):
        reference.make("cd" * 32, "cpu", observed.studies(1, 0), observed.studies(9, 0))
