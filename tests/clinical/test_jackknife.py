"""AUROC without each patient."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from pipeline.clinical import jackknife, metrics
from pipeline.clinical.paired import auroc_difference
from pipeline.clinical.ranking import ranked
from pipeline.clinical.resampling import draw


def some(seed, classes=1):
    """Patients of several units, ties, and labels mixed within most."""
    rng = np.random.default_rng(seed)
    labels, patients = rng.integers(0, 2, (60, classes)), rng.integers(0, 15, 60)
    scores, other = (rng.normal(size=(60, classes)).round(1) + labels for _ in range(2))
    return labels, scores, other, draw([f"p{p}" for p in patients], 2, 0.95, 1)


def left_out(labels, scores, drawn):
    return [roc_auc_score(labels[drawn.patient != p], scores[drawn.patient != p]) for p in range(drawn.patients)]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_auroc_of_all_others(seed):
    labels, scores, _, drawn = some(seed)
    found = jackknife.without_each(labels[:, 0], scores[:, 0], drawn)
    assert found == pytest.approx(left_out(labels, scores, drawn), abs=1e-12)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_interval_is_that_of_the_patients_left_out(classes):
    labels, scores, other, drawn = some(7, classes)
    given = ranked(labels, scores, drawn)
    left, count = np.array(left_out(labels, scores, drawn)), drawn.patients
    steps = t.ppf(0.975, given.scarcest - 1)
    found, value = metrics.auroc_of(given), given.areas[0]
    known, alike = given.erring(1), given.clustered(value)
    own = (count - 1) ** 2 / count * left.var(ddof=1)
    error = np.sqrt((known * own + max(own, alike**2)) / (known + 1))
    half = steps * error / (value * (1 - value))
    assert [found.low, found.high] == pytest.approx(expit(logit(value) + np.array([-half, half])), abs=1e-12)
    assert found.method == "jackknife of patients, logit"
    gaps, gap = left - left_out(labels, other, drawn), auroc_difference(labels, scores, other, drawn)
    half = steps * np.sqrt((count - 1) ** 2 / count * gaps.var(ddof=1))
    assert [gap.low, gap.high] == pytest.approx([gap.value - half, gap.value + half], abs=1e-12)
    assert gap.method == "jackknife of patients, paired"


def test_nothing_is_left_without_the_only_patient_of_a_class():
    drawn = draw(["a", "b", "b", "c"], 2, 0.95, 1)
    found = jackknife.without_each(np.array([1, 0, 0, 0]), np.array([0.5, 0.1, 0.9, 0.2]), drawn)
    assert np.isnan(found[0])
    assert found[1:].tolist() == pytest.approx([1, 0.5])


def test_a_unit_each_gives_nearly_delongs_variance():
    rng = np.random.default_rng(3)
    labels = np.arange(200) % 2
    scores, drawn = rng.normal(size=200) + labels, draw([str(i) for i in range(200)], 2, 0.95, 1)
    by_delong = metrics.auroc(labels, scores, drawn)
    twice = metrics.auroc(np.stack([labels] * 2, 1), np.stack([scores] * 2, 1), drawn)
    assert (twice.low, twice.high) == pytest.approx((by_delong.low, by_delong.high), abs=0.002)
