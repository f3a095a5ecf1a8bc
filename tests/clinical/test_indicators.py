"""The indicators of transfer, on courses of training whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.clinical.indicators import measure, score
from pipeline.clinical.learning import curve
from pipeline.clinical.resampling import draw
from pipeline.files import read_json, write_json
from tests.training_curves import history, judged, logits

LABELS = (np.arange(120) % 2).astype(np.float32)[:, None]
PATIENTS = [f"p{i // 3}" for i in range(120)]  # three units each
DRAWN = draw(PATIENTS, 400, 0.95, 7)
HEAD = ("head", 3, 0.0)
TOP = ("top", 4, 0.5)


def course(separations, phases, seed=1, frozen=("head",), labels=LABELS):
    values = logits(labels, separations, seed)
    return curve("finetuned", judged(history(phases), labels, values), values, labels.shape, frozen, 4)


def indicators(finetuned, scratch, **kwargs):
    return measure(
        kwargs.get("labels", LABELS), {"finetuned": finetuned, "scratch": scratch}, kwargs.get("drawn", DRAWN)
    )


@pytest.fixture
def helped():
    """Transfer starts high, passes the control's best in the second epoch of the trunk, and ends higher."""
    finetuned = course([0, 0.4, 0.6, 0.5, 0.9, 2.6, 3.0, 2.8], [HEAD, TOP])
    scratch = course([0, 0.3, 0.7, 1.1, 1.6, 1.9, 1.8], [("all", 6, 1.0)], seed=2, frozen=())
    return indicators(finetuned, scratch)


def test_score_is_the_auroc_of_those_drawn():
    values = logits(LABELS, [1.0], 3)[0]
    drawn = score(LABELS, values, DRAWN)
    for row in (0, 5):
        times = DRAWN.counts[row][DRAWN.patient].astype(int)
        expected = roc_auc_score(np.repeat(LABELS[:, 0], times), np.repeat(values[:, 0], times))
        assert drawn[row] == pytest.approx(expected, abs=1e-12)


def test_score_of_several_outputs_is_their_mean():
    labels = np.eye(3, dtype=np.float32)[np.arange(120) % 3]
    values = logits(labels, [1.0], 4)[0]
    expected = np.mean([score(labels[:, [k]], values[:, [k]], DRAWN) for k in range(3)], axis=0)
    np.testing.assert_allclose(score(labels, values, DRAWN), expected)
    assert score(labels[:, :2], values[:, :2], DRAWN)[0] != pytest.approx(expected[0])


def test_head_start_is_the_frozen_trunks_best_over_the_untrained_control(helped):
    start = helped.head_start
    assert helped.frozen_row == 2
    assert start.scratch == 0.5
    assert start.finetuned == helped.aurocs["finetuned"][2]
    assert start.gain.value == pytest.approx(start.finetuned - 0.5)
    assert 0 < start.gain.low < start.gain.value < start.gain.high


def test_without_a_phase_of_the_head_alone_the_start_is_before_any_step():
    finetuned = course([0, 1, 2], [("all", 2, 1.0)], frozen=())
    found = indicators(finetuned, finetuned)
    assert found.frozen_row == 0
    assert found.head_start.gain.value == 0


def test_time_to_threshold_is_counted_in_work_slices_and_epochs(helped):
    assert helped.level == helped.aurocs["scratch"][5]
    for currency, own, control in (("passes", 1000, 5000), ("slices", 5000, 5000), ("epochs", 5, 5)):
        ratio = helped.sooner[currency]
        assert (ratio.finetuned, ratio.scratch) == (own, control)
        assert ratio.gain.value == control / own
        assert ratio.gain.low <= ratio.gain.value <= ratio.gain.high
        assert ratio.gain.reason is None
    assert 0.9 < helped.reached <= 1


def test_each_resample_has_its_own_level_and_crossing(helped):
    """The interval is that of the whole procedure, done again for each resample."""
    areas = {
        name: np.stack([score(LABELS, row, DRAWN) for row in curve.scores]) for name, curve in helped.curves.items()
    }
    ratios, reached = [], []
    for b in range(len(DRAWN.counts)):
        control, own = areas["scratch"][:, b], areas["finetuned"][:, b]
        rows = np.flatnonzero(own >= control.max())
        reached.append(len(rows) > 0)
        own_work = helped.curves["finetuned"].work["passes"][rows[0]] if len(rows) else np.inf
        control_work = helped.curves["scratch"].work["passes"][np.flatnonzero(control == control.max())[0]]
        ratios.append(control_work / own_work if own_work else np.inf)
    assert helped.reached == np.mean(reached)
    gain = helped.sooner["passes"].gain
    assert gain.low == np.quantile(ratios, 0.025, method="lower")
    assert gain.high == np.quantile(ratios, 0.975, method="higher")


def test_a_level_that_is_never_reached_has_no_ratio_and_says_so():
    weak = course([0, 0.2, 0.2, 0.2, 0.3, 0.4, 0.4, 0.4], [HEAD, TOP])
    strong = course([0, 1, 3], [("all", 2, 1.0)], frozen=())
    found = indicators(weak, strong)
    gain = found.sooner["passes"].gain
    assert np.isnan(gain.value)
    assert "never reached" in gain.reason
    assert found.reached == 0
    assert found.sooner["passes"].finetuned == np.inf
    assert (gain.low, gain.high) == (0, 0)
    assert found.final.gain.high < 0


def test_some_resamples_that_never_reach_it_pull_the_lower_bound_to_nothing():
    even = course([0, 0.2, 0.2, 0.2, 0.9, 1.3, 1.3, 1.3], [HEAD, TOP], seed=1)
    control = course([0, 1.25], [("all", 1, 1.0)], seed=9, frozen=())
    found = indicators(even, control)
    assert 0.05 < found.reached < 0.95
    assert found.sooner["passes"].gain.low == 0


def test_a_level_that_the_frozen_trunk_reaches_costs_no_trunk_work():
    finetuned = course([0, 2.0, 2.2, 2.1, 2.2, 2.3, 2.3, 2.3], [HEAD, TOP])
    scratch = course([0, 0.1, 0.5], [("all", 2, 1.0)], frozen=())
    found = indicators(finetuned, scratch)
    assert found.sooner["passes"].gain.value == np.inf
    assert "before any such work" in found.sooner["passes"].gain.reason
    assert found.sooner["slices"].gain.value == 2
    assert found.sooner["slices"].gain.reason is None


def test_a_control_that_never_rose_gives_no_threshold():
    finetuned = course([0, 0.6, 1.0, 0.9, 1.2, 2.0, 2.4, 2.2], [HEAD, TOP])
    stuck = course([0, 0, 0], [("all", 2, 1.0)], frozen=())
    gain = indicators(finetuned, stuck).sooner["passes"].gain
    assert np.isnan(gain.value)
    assert gain.reason == "the control never rose above its start"


def test_final_level_is_that_of_the_epoch_which_the_training_chose_by_whatever_it_did(helped):
    by_other_means = replace(helped.curves["finetuned"], chosen=(1, 2))
    found = indicators(by_other_means, helped.curves["scratch"])
    assert found.final.finetuned == found.aurocs["finetuned"][2]


def test_final_level_is_that_of_the_epochs_that_were_kept(helped):
    final = helped.final
    assert final.finetuned == helped.aurocs["finetuned"].max()
    assert final.scratch == helped.aurocs["scratch"].max()
    assert final.gain.value == pytest.approx(final.finetuned - final.scratch)
    assert final.gain.low < final.gain.value < final.gain.high


def test_one_class_on_the_validation_side_leaves_everything_undefined_with_a_reason():
    labels = np.zeros_like(LABELS)
    finetuned = course([0, 1, 1, 1, 1, 1, 1, 1], [HEAD, TOP])
    found = indicators(finetuned, finetuned, labels=labels)
    for estimate in (found.head_start.gain, found.final.gain, found.sooner["passes"].gain):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
        assert "a class is missing" in estimate.reason


def test_an_epoch_that_is_not_finite_is_passed_over():
    finetuned = course([0, 0.6, 1.0, 0.9, 1.2, 2.0, 2.4, 2.2], [HEAD, TOP])
    finetuned.scores[5, 3] = np.nan
    found = indicators(finetuned, course([0, 1.5], [("all", 1, 1.0)], seed=2, frozen=()))
    assert np.isnan(found.aurocs["finetuned"][5])
    assert np.isfinite(found.head_start.gain.value)


def test_where_most_resamples_lack_a_class_there_is_no_interval():
    one_patient = np.zeros_like(DRAWN.counts)
    one_patient[:, 0] = DRAWN.patients
    of_one = (np.arange(120) < 3).astype(np.float32)[:, None]  # the positives are one patient's
    finetuned = course([0, 0.4, 0.6, 0.5, 0.9, 2.6, 3.0, 2.8], [HEAD, TOP], labels=of_one)
    scratch = course([0, 1.2], [("all", 1, 1.0)], seed=3, frozen=(), labels=of_one)
    found = indicators(finetuned, scratch, labels=of_one, drawn=replace(DRAWN, counts=one_patient))
    assert np.isfinite(found.head_start.gain.value)
    assert found.head_start.gain.reason == "too few patients of a class to resample"
    assert found.sooner["epochs"].gain.reason == "the level is undefined in most resamples"
    assert np.isnan([found.head_start.gain.low, found.sooner["epochs"].gain.high, found.reached]).all()


def test_figures_are_json_with_their_reasons(helped, tmp_path):
    path = tmp_path / "transfer.json"
    write_json(path, helped.figures())
    figures = read_json(path)
    assert figures["head_start"]["scratch"] == 0.5
    assert set(figures["time_to_threshold"]) == {"level", "reached", "passes", "slices", "epochs"}
    assert figures["time_to_threshold"]["passes"]["value"] == 5
    assert figures["budget"]["finetuned"]["passes"] == 2000
    assert figures["budget"]["control_had_less"] is False
    never = indicators(course([0, 0.1], [("all", 1, 1.0)], frozen=()), course([0, 3], [("all", 1, 1.0)], frozen=()))
    write_json(path, never.figures())
    passes = read_json(path)["time_to_threshold"]["passes"]
    assert passes["value"] is None
    assert passes["finetuned"] is None
    assert "never reached" in passes["reason"]
