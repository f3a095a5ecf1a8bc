"""Every figure of metrics.json, of several classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import recall_score, roc_auc_score

from pipeline import config
from pipeline.clinical import acceptance
from pipeline.clinical.evaluation import Evaluation, evaluate
from pipeline.clinical.units import Units
from pipeline.contract import Calibration
from pipeline.errors import AcceptanceError
from pipeline.targets import Targets

NAMES = ("low", "mid", "high")
Arrays = dict[str, np.ndarray]


@pytest.fixture
def settings(root: Path) -> config.Validate:
    return config.load(root / "params.yaml").validate_


def found(kind: Any, settings: config.Validate, temperature: Any, threshold: Any) -> tuple[Evaluation, Arrays]:
    rng = np.random.default_rng(2)
    labels = np.eye(3, dtype=np.int64)[rng.integers(0, 3, 80)] if kind == "multiclass" else rng.integers(0, 2, (80, 3))
    units = Units([f"u{i}" for i in range(80)], [f"p{i // 2}" for i in range(80)], labels, np.arange(80), [])
    logits = {
        name: (rng.normal(size=(80, 3)) + strength * labels).astype(np.float32)
        for name, strength in (("finetuned", 1.5), ("probe", 1.0), ("scratch", 0.5))
    }
    fixed = Calibration(temperature=temperature, threshold=threshold, rule="r", model_sha256="", split_sha256="")
    return evaluate(units, logits, fixed, settings, 1, Targets(kind, NAMES)), logits


def test_a_multiclass_task_ranks_by_probabilities_and_calls_the_largest(settings: config.Validate) -> None:
    result, logits = found("multiclass", settings, 2.0, None)
    labels, figures = result.units.labels, result.figures
    for name, values in logits.items():
        expected = roc_auc_score(labels, softmax(values.astype(float), axis=1), average="macro")
        assert figures[name]["auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    assert figures["transfer"]["difference"] == pytest.approx(
        figures["finetuned"]["auroc"]["value"] - figures["scratch"]["auroc"]["value"], abs=2e-6
    )
    called = np.eye(3)[logits["finetuned"].argmax(axis=1)]
    point = figures["operating_point"]
    assert list(point) == ["average", "sensitivity", "specificity"]
    assert point["sensitivity"]["value"] == pytest.approx(recall_score(labels, called, average="macro"), abs=1e-6)
    assert figures["test"] == {
        "patients": 40,
        "units": 80,
        "classes": dict(zip(NAMES, labels.sum(axis=0).tolist(), strict=True)),
    }
    assert figures["calibration"]["temperature"] == 2.0
    assert result.probabilities.sum(axis=1) == pytest.approx(1)


def test_each_label_of_a_multilabel_task_has_its_own_figures(settings: config.Validate) -> None:
    result, logits = found("multilabel", settings, [1.0, 2.0, 3.0], [0.4, 0.5, 0.6])
    labels, figures = result.units.labels, result.figures
    called = 1 / (1 + np.exp(-logits["finetuned"].astype(float) / [1, 2, 3])) >= [0.4, 0.5, 0.6]
    for place, name in enumerate(NAMES):
        own = figures["finetuned"]["classes"][name]
        area = roc_auc_score(labels[:, place], logits["finetuned"][:, place])
        assert own["auroc"]["value"] == pytest.approx(area, abs=1e-6)
        assert own["auroc"]["low"] < area < own["auroc"]["high"]
        recall = recall_score(labels[:, place], called[:, place])
        assert own["sensitivity"]["value"] == pytest.approx(recall, abs=1e-6)
        assert result.confusions[place].true_positive == (labels[:, place] * called[:, place]).sum()
    assert figures["operating_point"]["threshold"] == {"low": 0.4, "mid": 0.5, "high": 0.6}
    assert figures["calibration"]["temperature"] == {"low": 1.0, "mid": 2.0, "high": 3.0}


def test_logits_that_are_not_finite_leave_figures_undefined_with_a_reason(settings: config.Validate) -> None:
    units = Units(["a", "b"], ["p", "q"], np.array([[0], [1]]), np.arange(2), [])
    fixed = Calibration(temperature=1.0, threshold=0.5, rule="r", model_sha256="", split_sha256="")
    logits = {name: np.array([[0.0], [np.nan]]) for name in ("finetuned", "probe", "scratch")}
    point = evaluate(units, logits, fixed, settings, 1).figures["operating_point"]
    assert np.isnan(point["sensitivity"]["value"])
    assert point["sensitivity"]["reason"] == "a probability is not finite"


def binary(
    labels: Any, scores: Any, settings: config.Validate, patients: Any = None, threshold: float = 0.5, other: Any = None
) -> Any:
    """The figures of three models, of which two, or all, answer alike."""
    names = [f"p{i}" for i in (range(len(labels)) if patients is None else patients)]
    units = Units([f"u{i}" for i in range(len(labels))], names, np.array(labels)[:, None], np.arange(len(labels)), [])
    fixed = Calibration(temperature=1.0, threshold=threshold, rule="r", model_sha256="", split_sha256="")
    own, rival = (np.array(each, dtype=np.float64)[:, None] for each in (scores, scores if other is None else other))
    logits = {"finetuned": own, "probe": rival, "scratch": rival}
    return evaluate(units, logits, fixed, settings.model_copy(update={"bootstrap": 200}), 1).figures


@pytest.mark.parametrize(("finetuned", "scratch", "verdict"), [(0.3, 3.0, "negative"), (3.0, 0.3, "positive")])
def test_the_verdict_is_over_the_control_and_a_negative_one_is_refused(
    settings: config.Validate, finetuned: float, scratch: float, verdict: str
) -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, (120, 1))
    units = Units([f"u{i}" for i in range(120)], [f"p{i // 2}" for i in range(120)], labels, np.arange(120), [])
    strengths = {"finetuned": finetuned, "probe": 0.0, "scratch": scratch}
    logits = {name: rng.normal(size=labels.shape) + strength * labels for name, strength in strengths.items()}
    fixed = Calibration(temperature=1.0, threshold=0.5, rule="r", model_sha256="", split_sha256="")
    figures = evaluate(units, logits, fixed, settings, 1).figures
    assert figures["transfer"]["verdict"] == verdict
    assert (figures["transfer"]["difference"] < 0) == (verdict == "negative")
    (judged,) = [each for each in acceptance.evaluate([], figures) if each.metric == "transfer.verdict"]
    if verdict == "positive":
        acceptance.require([judged])
    else:
        with pytest.raises(AcceptanceError, match="expected transfer.verdict other than negative; found .*is negative"):
            acceptance.require([judged])


def leaves(figures: Any, path: str = "") -> dict[str, Any]:
    """Every figure by its dotted name."""
    if not isinstance(figures, dict):
        return {path: figures}
    return {name: leaf for key, value in figures.items() for name, leaf in leaves(value, f"{path}.{key}").items()}


def unexplained(figures: Any) -> list[str]:
    """Names of figures that are NaN with no reason in their own section or the one around it."""
    flat = leaves(figures)
    return [
        name
        for name, value in flat.items()
        if isinstance(value, float)
        and np.isnan(value)
        and f"{name.rpartition('.')[0]}.reason" not in flat
        and f"{name.rpartition('.')[0].rpartition('.')[0]}.reason" not in flat
    ]


def test_every_section_of_the_contract_is_there(settings: config.Validate) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 90)
    scores, other = rng.normal(size=(2, 90)) + labels
    figures = binary(labels, scores, settings, np.arange(90) // 3, other=other)
    assert unexplained(figures) == []
    flat = leaves(figures)
    for name in (
        "finetuned.average_precision.low",
        "prevalence",
        "operating_point.ppv.value",
        "operating_point.likelihood_ratio_positive.high",
        "operating_point.at_prevalence.0.01.npv.low",
        "operating_point.at_prevalence.0.3.per_1000.missed",
        "calibration.brier.value",
        "calibration.ece.high",
        "calibration.slope.low",
        "usefulness.net_benefit.value",
        "comparison.probe.p_value",
        "sample_size.auroc.more",
        "test.patients",
    ):
        assert np.isfinite(flat[f".{name}"]), name
    assert figures["prevalence"] == pytest.approx(labels.mean(), abs=1e-6)
    assert figures["comparison"]["scratch"]["mcnemar"]["reason"].startswith("no threshold")


BAD: dict[str, tuple[list[int], list[float], list[int] | None, dict[str, str]]] = {
    "one class": ([0] * 6, [-1, 0, 1, 2, -2, 3], None, {
        "finetuned.auroc": "only one class", "finetuned.average_precision": "only one class",
        "operating_point.sensitivity": "no positive unit", "operating_point.likelihood_ratio_positive": "no positive",
        "calibration.slope": "only one class", "sample_size.auroc": "only one class", "transfer": "only one class",
        "comparison.probe": "only one class", "operating_point.at_prevalence.0.1.ppv": "no positive unit",
    }),
    "two patients": ([0, 1, 0, 1], [-1, 1, 0.5, 0.2], [0, 1, 0, 1], {
        "finetuned.auroc": "too few patients of a class", "finetuned.average_precision": "too few patients",
        "operating_point.sensitivity": "", "calibration.slope": "too few patients", "transfer": "too few patients",
    }),
    "all scores equal": ([0, 1, 0, 1, 0, 1], [0.3] * 6, None, {
        "finetuned.auroc": "all scores are equal: AUROC is 0.5 by definition",
        "finetuned.average_precision": "all scores are equal: average precision is the share of positives",
        "calibration.slope": "all probabilities are equal", "transfer": "does not vary between the patients",
        "comparison.probe": "does not vary between the patients",
    }),
    "a score that is no number": ([0, 1, 0, 1], [0.3, np.nan, 0, 1], None, {
        "finetuned.auroc": "not finite", "operating_point.ppv": "not finite", "calibration.ece": "not finite",
        "usefulness.net_benefit": "not finite", "comparison.scratch": "not finite",
        "operating_point.likelihood_ratio_negative": "not finite", "sample_size.sensitivity": "not finite",
    }),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_gives_nan_with_a_reason_never_a_number_that_looks_like_one(
    bad: str, settings: config.Validate
) -> None:
    labels, scores, patients, reasons = BAD[bad]
    figures = binary(labels, scores, settings, patients)
    assert unexplained(figures) == []
    flat = leaves(figures)
    for name, reason in reasons.items():
        if reason:
            assert reason in flat[f".{name}.reason"], name
    assert figures["transfer"]["verdict"] is None


def test_two_patients_have_wide_intervals_or_none(settings: config.Validate) -> None:
    labels, scores, patients, _ = BAD["two patients"]
    figures = binary(labels, scores, settings, patients)
    assert figures["finetuned"]["auroc"]["value"] == 0.75
    assert np.isnan(figures["finetuned"]["auroc"]["low"])
    shares = figures["operating_point"]["sensitivity"]
    assert shares["high"] - shares["low"] > 0.7


def test_ties_everywhere_count_half(settings: config.Validate) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = (rng.random(60) + 0.3 * labels > 0.6).astype(float)
    figures = binary(labels, scores, settings, np.arange(60) // 2, threshold=0.6)
    expected = roc_auc_score(labels, scores)
    assert figures["finetuned"]["auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    point = figures["operating_point"]
    assert expected == pytest.approx((point["sensitivity"]["value"] + point["specificity"]["value"]) / 2, abs=1e-6)
    assert unexplained(figures) == []
