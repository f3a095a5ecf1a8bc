import time
import tracemalloc

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t
from sklearn.metrics import average_precision_score, brier_score_loss, recall_score, roc_auc_score

from pipeline.clinical import metrics
from pipeline.clinical.paired import auroc_difference
from pipeline.clinical.ranking import newcombe, ranked
from pipeline.clinical.resampling import FEW, ONE_PATIENT, SAME, TOO_FEW, draw


def resamples(patients, n=500, seed=1):
    return draw([f"p{p}" for p in patients], n, 0.95, seed)


def each_own(n):
    return resamples(range(n))


@pytest.mark.parametrize("seed", range(8))
def test_auroc_is_that_of_scikit_learn_ties_too(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 80)
    scores = rng.integers(0, 6, 80).astype(float) + labels
    patients = rng.integers(0, 25, 80)
    found = metrics.auroc(labels, scores, resamples(patients))
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.low < found.value < found.high
    assert found.n == 80


def test_every_resample_is_the_auroc_of_the_patients_drawn():
    rng = np.random.default_rng(4)
    labels, patients = rng.integers(0, 2, 60), rng.integers(0, 20, 60)
    scores = rng.normal(size=60).round(1) + labels
    drawn = resamples(patients, n=100)
    units = [np.repeat(np.arange(60), counts[drawn.patient].astype(int)) for counts in drawn.counts]
    given = ranked(labels, scores, drawn)
    expected = [roc_auc_score(labels[u], scores[u]) for u in units]
    assert given.drawn[0] == pytest.approx(expected, abs=1e-12)
    precision = [average_precision_score(labels[u], scores[u]) for u in units]
    assert given.drawn[1] == pytest.approx(precision, abs=1e-12)
    assert given.areas == pytest.approx((roc_auc_score(labels, scores), average_precision_score(labels, scores)))
    found, value = metrics.average_precision_of(given), given.areas[1]
    half = t.ppf(0.975, given.scarcest - 1) * np.std(precision, ddof=1) / (value * (1 - value))
    assert [found.low, found.high] == pytest.approx(expit(logit(value) + np.array([-half, half])), abs=1e-12)
    assert found.method == "cluster bootstrap, logit"


def test_sensitivity_specificity_and_brier_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    labels, probabilities = rng.integers(0, 2, 50), rng.random(50)
    drawn, calls = resamples(rng.integers(0, 20, 50)), probabilities >= 0.4
    sensitivity = metrics.sensitivity(labels, calls, drawn)
    specificity = metrics.specificity(labels, calls, drawn)
    brier = metrics.brier(labels, probabilities, drawn)
    assert sensitivity.value == pytest.approx(recall_score(labels, calls))
    assert specificity.value == pytest.approx(recall_score(labels, calls, pos_label=0))
    assert brier.value == pytest.approx(brier_score_loss(labels, probabilities))
    for estimate in (sensitivity, specificity, brier):
        assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_figures_of_several_classes_are_the_macro_means_of_scikit_learn(kind):
    rng = np.random.default_rng(6)
    place = rng.integers(0, 3, 90)
    labels = np.eye(3, dtype=int)[place] if kind == "multiclass" else rng.integers(0, 2, (90, 3))
    probabilities = rng.dirichlet([1, 1, 1], 90) + 0.3 * labels
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    called = probabilities >= 0.4 if kind == "multilabel" else np.eye(3, dtype=bool)[probabilities.argmax(1)]
    drawn = resamples(rng.integers(0, 30, 90))
    found = metrics.auroc(labels, probabilities, drawn)
    assert found.value == pytest.approx(roc_auc_score(labels, probabilities, average="macro"), abs=1e-12)
    sensitivity, specificity = metrics.sensitivity(labels, called, drawn), metrics.specificity(labels, called, drawn)
    assert sensitivity.value == pytest.approx(recall_score(labels, called, average="macro"))
    assert specificity.value == pytest.approx(recall_score(1 - labels, ~called, average="macro"))
    assert metrics.brier(labels, probabilities, drawn).value == pytest.approx(np.mean((probabilities - labels) ** 2))
    for estimate in (found, sensitivity, specificity):
        assert estimate.low < estimate.value < estimate.high


def test_every_resample_is_the_macro_auroc_of_the_patients_drawn():
    rng = np.random.default_rng(4)
    labels, patients = rng.integers(0, 2, (60, 2)), rng.integers(0, 20, 60)
    scores = rng.normal(size=(60, 2)).round(1) + labels
    drawn = resamples(patients, n=100)
    units = [np.repeat(np.arange(60), counts[drawn.patient].astype(int)) for counts in drawn.counts]
    given = ranked(labels, scores, drawn)
    expected = [roc_auc_score(labels[u], scores[u]) for u in units]
    assert given.drawn[0] == pytest.approx(expected, abs=1e-12)
    precision = [average_precision_score(labels[u], scores[u]) for u in units]
    assert given.drawn[1] == pytest.approx(precision, abs=1e-12)
    assert given.areas == pytest.approx((roc_auc_score(labels, scores), average_precision_score(labels, scores)))


def test_one_column_is_the_binary_task():
    rng = np.random.default_rng(8)
    labels, scores, drawn = rng.integers(0, 2, 50), rng.random(50), resamples(rng.integers(0, 20, 50))
    for figure in (metrics.auroc, metrics.brier):
        assert figure(labels[:, None], scores[:, None], drawn) == figure(labels, scores, drawn)
    for share in (metrics.sensitivity, metrics.specificity):
        assert share(labels[:, None], scores[:, None] > 0.4, drawn) == share(labels, scores > 0.4, drawn)


def test_one_unit_a_patient_gives_wilsons_interval():
    labels = np.array([1] * 20 + [0] * 20)
    probabilities = np.array([0.9] * 15 + [0.1] * 25)
    found = metrics.sensitivity(labels, probabilities >= 0.5, each_own(40))
    # 15 of 20: R's binom::binom.wilson(15, 20) gives 0.5312 to 0.8881.
    assert (found.low, found.high) == pytest.approx((0.5312, 0.8881), abs=1e-3)


def test_more_units_of_the_same_patients_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 20)
    scores = rng.normal(size=40) + labels
    once = metrics.auroc(labels, scores, each_own(40))
    tenfold = metrics.auroc(np.repeat(labels, 10), np.repeat(scores, 10), resamples(np.repeat(np.arange(40), 10)))
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high), abs=0.03)
    assert (once.method, tenfold.method) == ("DeLong, logit", "jackknife of patients, logit")


def test_a_perfect_figure_of_few_patients_does_not_look_certain():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    found = metrics.auroc(labels, labels.astype(float), each_own(8))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(newcombe(4, 4, 0.95))
    assert metrics.sensitivity(labels, labels == 1, resamples([0, 0, 1, 1, 2, 2, 3, 3])).low < 0.5


@pytest.mark.parametrize("patients", [20, 40, 100])
@pytest.mark.parametrize("units", [1, 5])
def test_a_swapped_pair_more_never_makes_a_ranking_look_better(patients, units):
    count = patients * units
    order, drawn = np.arange(count) // units, resamples(np.arange(count) // units)
    labels, lows, mirrored = (order >= patients // 2).astype(int), [], []
    for swapped in range(FEW - 1):  # patients that err by the pair
        scores = np.arange(count, dtype=float)
        first, last = count // 2 - 1 - swapped, count // 2 + swapped
        scores[[first, last]] = scores[[last, first]]
        given = ranked(labels, scores if swapped else np.arange(count), drawn)
        lows.append((metrics.auroc_of(given).low, metrics.average_precision_of(given).low))
        mirrored.append(1 - metrics.auroc(labels, -given.scores[:, 0], drawn).high)
    assert lows[0] == pytest.approx([newcombe(patients // 2, patients // 2, 0.95)] * 2)
    assert max(low for low, _ in lows) == lows[0][0]
    assert max(low for _, low in lows) == lows[0][1]
    assert mirrored == pytest.approx([low for low, _ in lows])


def test_the_interval_of_the_brier_score_is_students():
    """A unit each: that of a mean; copies of each unit change nothing."""
    rng = np.random.default_rng(5)
    labels, probabilities = rng.integers(0, 2, 30), rng.random(30)
    errors = (probabilities - labels) ** 2
    expected = t.interval(0.95, 29, errors.mean(), errors.std(ddof=1) / np.sqrt(30))
    once = metrics.brier(labels, probabilities, each_own(30))
    twice = metrics.brier(np.repeat(labels, 2), np.repeat(probabilities, 2), resamples(np.arange(60) // 2))
    for found in (once, twice):
        assert (found.low, found.high) == pytest.approx(expected)
    few = metrics.brier(np.array([0, 1]), np.array([0.1, 0.9999]), each_own(2))
    assert 0 == few.low < few.value < few.high < 0.1


@pytest.mark.parametrize(("patients", "reason"), [([0, 0], ONE_PATIENT), ([0, 1], SAME)])
def test_a_brier_score_that_no_patient_moves_has_no_interval(patients, reason):
    found = metrics.brier(np.array([0, 1]), np.array([0.0, 1.0]), resamples(patients))
    assert (found.value, found.reason) == (0, reason)
    assert np.isnan([found.low, found.high]).all()


def test_resamples_of_one_patient_give_no_interval():
    assert resamples([0, 0]).interval(np.full(500, 0.3))[2] == TOO_FEW
    assert resamples([0, 1]).interval(np.full(500, 0.3))[2] == SAME
    assert resamples([0, 1]).interval(np.arange(500.0)) == (pytest.approx(12.475), pytest.approx(486.525), None)


def test_a_figure_that_no_patient_moves_has_no_interval():
    """Each patient alike: one of two positives above the negative."""
    labels, scores = np.tile([1, 1, 0], 4), np.tile([2.0, 0.0, 1.0], 4)
    found = metrics.auroc(labels, scores, resamples(np.arange(12) // 3))
    assert (found.value, found.reason) == (0.5, SAME)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(
    ("estimate", "reason"),
    [
        (lambda: metrics.auroc(np.ones(5, int), np.arange(5.0), each_own(5)), "only one class"),
        (lambda: metrics.auroc(np.array([0, 1]), np.array([0, np.nan]), each_own(2)), "not finite"),
        (lambda: metrics.sensitivity(np.zeros(4, int), np.ones(4, bool), each_own(4)), "no positive unit"),
        (lambda: metrics.specificity(np.ones(4, int), np.ones(4, bool), each_own(4)), "no negative unit"),
        (lambda: metrics.auroc(np.array([[0, 1], [1, 1]]), np.ones((2, 2)), each_own(2)), "units of too few classes"),
        (lambda: metrics.specificity(np.array([[1, 0]]), np.ones((1, 2), bool), each_own(1)), "no negative unit"),
        (lambda: metrics.brier(np.empty(0, int), np.empty(0), each_own(0)), "no unit"),
        (lambda: auroc_difference(np.ones(3, int), np.ones(3), np.ones(3), each_own(3)), "only one class"),
    ],
)
def test_what_is_undefined_is_nan_with_a_reason(estimate, reason):
    found = estimate()
    assert np.isnan([found.value, found.low, found.high]).all()
    assert reason in found.reason
    assert found.figures()["reason"] == found.reason


def test_no_interval_from_one_patient_of_a_class():
    found = metrics.auroc(np.array([1] + [0] * 3), np.array([0.5, 0.1, 0.9, 0.2]), resamples([0, 1, 1, 1]))
    assert found.value == pytest.approx(2 / 3)
    assert np.isnan([found.low, found.high]).all()
    assert found.reason == "too few patients of a class to resample"


def test_a_paired_difference_is_narrower_than_an_unpaired_one():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 120)
    shared = rng.normal(size=120)
    better, worse = labels * 1.5 + shared + 0.2 * rng.normal(size=120), labels * 1.0 + shared
    drawn = resamples(np.arange(120) // 2)
    found = auroc_difference(labels, better, worse, drawn)
    one, other = (metrics.auroc(labels, scores, drawn) for scores in (better, worse))
    assert found.value == pytest.approx(one.value - other.value)
    assert found.high - found.low < 0.6 * (one.high - one.low + other.high - other.low)


def test_two_thousand_resamples_of_many_patients_take_seconds_and_little_memory():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    scores = rng.normal(size=20_000) + labels
    tracemalloc.start()
    begin = time.perf_counter()
    found = metrics.average_precision_of(ranked(labels, scores, resamples(np.arange(20_000) // 5, n=2000)))
    taken, (_, peak) = time.perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.method == "cluster bootstrap, logit"
    assert taken < 8  # a busy machine is given room
    assert peak < 64 * 2**20  # a matrix of patients times patients alone would be 122 MiB


def test_resamples_do_not_depend_on_the_names_of_the_patients():
    np.testing.assert_array_equal(draw(["b", "a", "b"], 50, 0.95, 1).counts, draw(["x", "y", "x"], 50, 0.95, 1).counts)
