"""Figures of layers: LogME against the evidence itself, unit means, and which layer is best."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from pipeline.clinical.pooling import pool_mean
from pipeline.targets import Targets
from pipeline.transfer.domain import Distance
from pipeline.transfer.probe import Probe
from pipeline.transfer.transferability import Layer, Side, best, logme, measure, segment, side_of

UNITS, FEATURES = 24, 5


def evidence(features: np.ndarray, wanted: np.ndarray) -> float:
    """The largest log density of the targets a unit, over both precisions; the weights are integrated out."""

    def negative(logs: np.ndarray) -> float:
        alpha, beta = np.exp(np.clip(logs, -15, 15))
        covariance = features @ features.T / alpha + np.eye(len(wanted)) / beta
        return -multivariate_normal(np.zeros(len(wanted)), covariance, allow_singular=True).logpdf(wanted)

    starts = [
        minimize(negative, [a, b], method="Nelder-Mead", options={"xatol": 1e-6}) for a in (-1, 2) for b in (0, 2)
    ]
    return -min(found.fun for found in starts) / len(wanted)


@pytest.fixture
def material() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    features = rng.normal(1, 1, (UNITS, FEATURES))
    wanted = (features[:, 0] + rng.normal(0, 0.5, UNITS) > 1).astype(np.float64)
    return features, wanted[:, None]


def test_logme_is_the_maximum_of_the_evidence(material: tuple[np.ndarray, np.ndarray]) -> None:
    features, targets = material
    both = [evidence(features, 1 - targets[:, 0]), evidence(features, targets[:, 0])]
    assert logme(features, targets) == pytest.approx(np.mean(both), abs=1e-4)


def test_of_several_classes_it_is_the_mean(material: tuple[np.ndarray, np.ndarray]) -> None:
    features, _ = material
    targets = np.eye(3)[np.arange(UNITS) % 3]
    expected = np.mean([evidence(features, column) for column in targets.T])
    assert logme(features, targets) == pytest.approx(expected, abs=1e-4)


def test_more_features_than_units_are_no_trouble(material: tuple[np.ndarray, np.ndarray]) -> None:
    features, targets = material
    wide = np.concatenate([features, np.random.default_rng(4).normal(size=(UNITS, 60))], axis=1)
    both = [evidence(wide, 1 - targets[:, 0]), evidence(wide, targets[:, 0])]
    assert logme(wide, targets) == pytest.approx(np.mean(both), abs=1e-3)


def test_features_that_explain_the_labels_have_the_higher_logme(material: tuple[np.ndarray, np.ndarray]) -> None:
    features, targets = material
    shuffled = np.random.default_rng(5).permutation(features)
    assert logme(features, targets) > logme(shuffled, targets) + 0.1


def test_unit_means_are_those_of_the_slices_wherever_they_stand() -> None:
    rng = np.random.default_rng(6)
    rows = [
        {
            "unit": f"S{i % 7}",
            "patient": f"P{i % 7}",
            "label": str(i % 7 % 2),
            "split": "val" if i % 7 == 3 else "train",
        }
        for i in rng.permutation(50)
    ]
    values = rng.normal(size=(50, 4)).astype(np.float32)
    train = side_of(rows, "train", Targets("binary", ("0", "1")).encode)
    units = [row["unit"] for row in rows if row["split"] == "train"]
    names, means = pool_mean(values[[row["split"] == "train" for row in rows]], units)
    np.testing.assert_allclose(train.means([values]), means, atol=1e-6)
    np.testing.assert_allclose(train.means([values[:, 2:], values[:, :2]]), means[:, [2, 3, 0, 1]], atol=1e-6)
    assert train.targets[:, 0].tolist() == [int(name[1]) % 2 for name in names]
    assert train.patients.tolist() == [f"P{name[1]}" for name in names]


def sides(validating: int) -> tuple[np.ndarray, Side, Side]:
    """Labels 0, 1, 0, ... of units of a patient each: 40 train, so many after them validate."""
    labels = np.arange(40 + validating) % 2
    rows = [
        {"unit": str(i), "patient": str(i), "label": str(label), "split": "train" if i < 40 else "val"}
        for i, label in enumerate(labels)
    ]
    train, val = (side_of(rows, side, Targets("binary", ("0", "1")).encode) for side in ("train", "val"))
    return labels, train, val


def test_validation_is_measured_on_validation_units() -> None:
    rng = np.random.default_rng(7)
    labels, train, val = sides(20)
    features = rng.normal(size=(60, 3)).astype(np.float32)
    features[:, 0] += 4 * labels
    features[40:, 0] *= -1  # reversed there: the probe must be wrong
    _, figures = measure([features], train, val, "binary", [0.1], seed=1)
    assert figures["cv_auroc"] > 0.9
    assert figures["val_auroc"] < 0.1


def test_the_probe_sees_all_forms_and_logme_the_first() -> None:
    rng = np.random.default_rng(8)
    labels, train, val = sides(40)
    noise, telling = rng.normal(size=(2, 80, 3)).astype(np.float32)
    telling[:, 0] += 4 * labels
    fitted, figures = measure([noise, telling], train, val, "binary", [0.1], seed=1)
    assert fitted.weight.shape == (6, 1)
    assert figures["val_auroc"] > 0.9
    assert figures["logme"] == logme(noise[:40], train.targets)


def layer(name: str, val_auroc: float, cv_auroc: float = 0.5) -> Layer:
    nothing = Probe(np.zeros((1, 1), np.float32), np.zeros(1, np.float32))
    return Layer(name, 0.5, 1, nothing, {"cv_auroc": cv_auroc, "val_auroc": val_auroc})


@pytest.mark.parametrize(
    ("scores", "expected"), [((0.7, 0.9, 0.8), 1), ((0.9, 0.9, 0.8), 1), ((np.nan, 0.4, np.nan), 1), ([np.nan] * 3, 2)]
)
def test_the_best_layer_is_that_of_validation_and_of_equal_ones_the_highest(
    scores: tuple[float, ...], expected: int
) -> None:
    layers = [layer(f"layer{place}", score) for place, score in enumerate(scores)]
    assert best(layers).name == f"layer{expected}"


def test_cross_validation_on_training_patients_does_not_choose_the_layer() -> None:
    low, high = layer("low", val_auroc=0.6, cv_auroc=0.9), layer("high", val_auroc=0.7, cv_auroc=0.6)
    assert best([low, high]) is best([high, low]) is high


def test_a_layers_distance_is_that_of_the_norms_since_the_layer_before() -> None:
    distances = Distance(0.3, {"bn1": 0.1, "layer1.0.bn1": 0.2, "layer1.0.bn2": 0.4, "layer10.bn": 9.0})
    found = segment(distances, ["conv1", "bn1", "layer1.0", "layer10", "fc"], ["bn1", "layer1.0", "layer10", "fc"])
    assert found == {
        "bn1": 0.1,
        "layer1.0": pytest.approx(0.3),
        "layer10": 9.0,
        "fc": pytest.approx(np.nan, nan_ok=True),
    }
