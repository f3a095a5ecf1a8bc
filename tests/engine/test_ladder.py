"""The rungs: what each changes, by hand, and which one is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.clinical.resampling import Estimate, draw
from pipeline.clinical.said import Said, say
from pipeline.clinical.units import Units
from pipeline.contract import Runs
from pipeline.engine import ladder, timing
from pipeline.inference.answers import Answers
from pipeline.inference.neighbours import weights
from pipeline.targets import BINARY, Targets

RNG = np.random.default_rng(0)
LABELS = np.arange(60)[:, None] % 2
LOGITS = 2.0 * LABELS - 1 + RNG.normal(size=(60, 1))
THRESHOLD = 0.5


def units_of(labels: npt.NDArray[np.int64], slices: int = 1) -> Units:
    ids = [f"u{place}" for place in range(len(labels))]
    owner = ids * slices  # not sorted by unit on purpose
    return Units(ids, [f"p{place}" for place in range(len(labels))], labels, np.arange(len(owner)), owner)


def judge(labels: npt.NDArray[np.int64] = LABELS, targets: Targets = BINARY, **changed: Any) -> ladder.Judge:
    units = units_of(labels)
    given = {"threshold": THRESHOLD, "asked": ladder.Asked(0.02, 0.01), **changed}
    return ladder.Judge(units, targets, resamples=draw(units.patients, 0, 0.95, 0), **given)


def said(logits: npt.NDArray[np.float64]) -> Said:
    return Said(1 / (1 + np.exp(-logits)), logits)


REFERENCE = said(LOGITS)


def test_the_figures_are_those_of_the_answers() -> None:
    other = said(LOGITS + RNG.normal(scale=0.3, size=LOGITS.shape))
    found = judge().change(REFERENCE, other)
    off = np.abs(other.probabilities - REFERENCE.probabilities)
    assert (found.largest, found.mean) == (off.max(), off.mean())
    flipped = ((other.probabilities >= 0.5) != (REFERENCE.probabilities >= 0.5))[:, 0]
    assert found.flips == flipped.sum() > 0
    assert found.flips_outside == (flipped & (np.abs(REFERENCE.probabilities[:, 0] - 0.5) > 0.02)).sum() > 0
    expected = roc_auc_score(LABELS, other.logits) - roc_auc_score(LABELS, LOGITS)
    assert found.auroc_change.value == pytest.approx(expected)
    assert found.auroc_change.low < expected < found.auroc_change.high
    assert found.refused is not None
    assert found.refused.endswith("farther than 0.02 from the threshold")


def test_a_flip_within_the_band_is_counted_and_let_through() -> None:
    logits = LOGITS.copy()
    logits[7] = 0.04  # a probability of 0.51
    other = logits.copy()
    other[7] = -0.04
    found = judge(asked=ladder.Asked(0.02, 0.05)).change(said(logits), said(other))
    assert (found.flips, found.flips_outside, found.refused) == (1, 0, None)
    narrow = judge(asked=ladder.Asked(0.005, 0.05)).change(said(logits), said(other))
    assert narrow.refused == "1 decision flips farther than 0.005 from the threshold"


def test_a_ranking_that_is_worse_is_refused() -> None:
    other = np.where(LABELS == 1, LOGITS / 2, LOGITS)  # no decision flips, and positives fall behind others
    found = judge().change(REFERENCE, said(other))
    assert found.flips == 0
    assert found.auroc_change.value < -0.01
    assert found.refused == f"AUROC falls by {-found.auroc_change.value:.4g}, more than 0.01"
    assert judge(asked=ladder.Asked(0.02, 0.2)).change(REFERENCE, said(other)).refused is None


def test_what_answers_alike_is_taken_and_what_cannot_be_ranked_is_not() -> None:
    one_class = judge(np.ones_like(LABELS))
    assert one_class.change(REFERENCE, REFERENCE).refused is None
    found = one_class.change(REFERENCE, said(LOGITS * 1.001))
    assert found.refused == "the change of AUROC is undefined: only one class among the units"


def test_an_answer_that_is_no_number_is_refused() -> None:
    broken = LOGITS.copy()
    broken[3] = np.nan
    assert judge().change(REFERENCE, said(broken)).refused == "an answer is no number"


def test_of_several_classes_the_nearest_decision_counts() -> None:
    targets, labels = Targets("multiclass", ("a", "b", "c")), np.eye(3, dtype=np.int64)[np.arange(6) % 3]
    logits = 4.0 * labels
    logits[0] = [0.02, 0.0, -3.0]
    other = logits.copy()
    other[0] = [0.0, 0.02, -3.0]
    one, two = (Said(targets.probabilities(each, 1.0), each) for each in (logits, other))
    found = judge(labels, targets, threshold=None).change(one, two)
    assert (found.flips, found.flips_outside) == (1, 0)
    narrow = judge(labels, targets, threshold=None, asked=ladder.Asked(0.001, 0.01)).change(one, two)
    assert narrow.flips_outside == 1


def test_of_several_findings_each_has_its_threshold() -> None:
    targets, labels = Targets("multilabel", ("a", "b")), RNG.integers(0, 2, (20, 2))
    logits = RNG.normal(size=(20, 2))
    logits[4] = [2.0, 1.1]  # 0.88 and 0.7503
    other = logits.copy()
    other[4, 1] = 1.0  # 0.731
    found = judge(labels, targets, threshold=[0.5, 0.75]).change(said(logits), said(other))
    assert (found.flips, found.flips_outside) == (1, 0)
    assert judge(labels, targets, threshold=[0.5, 0.6]).change(said(logits), said(other)).flips == 0


def rung(name: str, milliseconds: float | None, refused: str | None = None, ran: bool = True) -> ladder.Rung:
    change = ladder.Change(0.0, 0.0, Estimate(0.0, 0.0, 0.0, 1), 0, 0, refused) if ran else None
    runtime, precision = name.split()
    runs = Runs.model_validate({"runtime": runtime, "precision": precision})
    return ladder.Rung(runs, "backend", change, milliseconds, None if ran else "no such processor")


@pytest.mark.parametrize(
    ("rungs", "expected"),
    [
        ([rung("openvino fp32", 9.0), rung("openvino int8", 3.0)], "openvino int8"),
        ([rung("openvino bf16", 3.1), rung("openvino int8", 3.0)], "openvino bf16"),
        ([rung("openvino bf16", 5.0), rung("openvino int8", 3.0, "flips")], "openvino bf16"),
        ([rung("openvino bf16", None, ran=False), rung("openvino int8", 11.0)], "onnxruntime fp32"),
        ([rung("onnxruntime fp16", 1.0)], "onnxruntime fp32"),
    ],
)
def test_the_fastest_that_may_is_taken(rungs: list[ladder.Rung], expected: str) -> None:
    found = ladder.chosen([rung("onnxruntime fp32", 10.0), *rungs])
    assert f"{found.runtime} {found.precision}" == expected


class Brightness:
    """A backend whose logit is the mean of its slices, and that remembers how many it was given."""

    name, size, outputs = "brightness", 2, {"probabilities": 1, "logits": 1, "slice_scores": 1, "embedding": 1}

    def __init__(self) -> None:
        self.given: list[int] = []

    def run(self, slices: npt.NDArray[np.uint8], membership: npt.NDArray[np.float32]) -> Answers:
        self.given.append(len(slices))
        each = slices.mean(axis=(1, 2), dtype=np.float32)[:, None]
        logits = membership @ each / membership.sum(axis=1, keepdims=True)
        return Answers(1 / (1 + np.exp(-logits)), logits, each, logits)


def test_units_are_answered_as_a_box_does() -> None:
    units = units_of(LABELS[:5], slices=3)
    slices = RNG.integers(0, 256, (15, 2, 2), dtype=np.uint8)
    backend = Brightness()
    found = say(backend, slices, units, 0.0)
    assert backend.given == [3] * 5
    means = slices.mean(axis=(1, 2))
    np.testing.assert_allclose(found.logits[:, 0], [means[place::5].mean() for place in range(5)], rtol=1e-6)
    alone, pictures = Brightness(), RNG.integers(0, 256, (150, 2, 2), dtype=np.uint8)
    found = say(alone, pictures, units_of(np.zeros((150, 1), np.int64)), 0.0)
    assert alone.given == [64, 64, 22]
    np.testing.assert_allclose(found.logits[:, 0], pictures.mean(axis=(1, 2)), rtol=1e-6)


def test_slices_are_answered_with_those_beside_them_where_a_box_does_so() -> None:
    pictures = RNG.integers(0, 256, (9, 2, 2), dtype=np.uint8)
    units = replace(units_of(np.zeros((9, 1), np.int64)), places=[("ab"[place // 5], place) for place in range(9)])
    found = say(Brightness(), pictures, units, 1.0).logits
    means = pictures.mean(axis=(1, 2))
    for own in (slice(0, 5), slice(5, 9)):
        expected = weights(np.arange(9)[own], 1.0) @ means[own]
        np.testing.assert_allclose(found[own, 0], expected, rtol=1e-5)


def test_all_are_timed_on_a_usual_unit() -> None:
    units = units_of(LABELS[:3], slices=2)
    owner = [*units.slice_units, "u0", "u1", "u1", "u1"]  # 3, 5 and 2 slices
    many = Units(units.ids, units.patients, units.labels, np.arange(len(owner)), owner)
    slices, belongs = timing.usual(np.zeros((len(owner), 2, 2), np.uint8), many)
    assert len(slices) == 3
    assert belongs.tolist() == [[1, 1, 1]]
    backends = {"one": Brightness(), "other": Brightness()}
    found = timing.milliseconds(backends, slices, belongs)
    assert set(found) == {"one", "other"}
    assert all(value > 0 for value in found.values())
    assert backends["one"].given == backends["other"].given == [3] * 20


def test_slices_that_are_units_are_timed_by_the_patient() -> None:
    units = units_of(np.zeros((9, 1), np.int64))
    many = Units(units.ids, ["a"] * 2 + ["b"] * 3 + ["c"] * 4, units.labels, units.rows, units.slice_units)
    slices, belongs = timing.usual(np.arange(9, dtype=np.uint8)[:, None, None], many)
    assert slices.ravel().tolist() == [2, 3, 4]
    np.testing.assert_array_equal(belongs, np.eye(3))
