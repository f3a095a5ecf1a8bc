"""The logistic probe on frozen features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.transfer import probe


@pytest.fixture
def units() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    features = rng.normal(3, 2, (80, 12)).astype(np.float32)
    features[:, 0] += labels * 2
    return features, labels, np.array([f"P{i // 2}" for i in range(80)])


def test_it_is_the_regression_with_standardisation_folded_in(units: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    features, labels, patients = units
    fitted, facts = probe.fit(features, labels, patients, [0.1], seed=1)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(features, labels)
    np.testing.assert_allclose(fitted.logits(features), reference.decision_function(features), atol=1e-4)
    assert 0.5 < facts["cv_auroc"] < 1


def test_regularisation_is_chosen_by_cross_validation(units: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores = {c: probe.fit(*units, [c], seed=1)[1]["cv_auroc"] for c in (1e-4, 1.0)}
    assert probe.fit(*units, [1e-4, 1.0], seed=1)[1]["c"] == max(scores, key=lambda c: scores[c])


def test_it_is_kept_as_safetensors(units: tuple[np.ndarray, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    fitted, _ = probe.fit(*units, [0.1], seed=1)
    fitted.save(tmp_path)
    assert np.array_equal(probe.load(tmp_path).logits(units[0]), fitted.logits(units[0]))
