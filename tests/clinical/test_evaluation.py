"""Every figure of metrics.json, of several classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import recall_score, roc_auc_score

from pipeline import config
from pipeline.clinical.evaluation import Evaluation, evaluate
from pipeline.clinical.units import Units
from pipeline.contract import Calibration
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
