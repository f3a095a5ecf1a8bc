"""What few test patients can show at best."""

import numpy as np
import pytest

from pipeline.clinical import acceptance, metrics
from pipeline.clinical.by_class import finetuned
from pipeline.clinical.ranking import newcombe
from pipeline.clinical.reachable import best
from pipeline.clinical.resampling import draw, wilson
from pipeline.targets import BINARY, Targets
from pipeline.validation_config import Criterion

CLASSES = Targets("multiclass", ("low", "mid", "high"))


def patients(count, units=1):
    return draw([str(i // units) for i in range(count * units)], 200, 0.95, 0)


@pytest.mark.parametrize("positives", [3, 10, 40])
def test_of_areas_and_shares_it_is_the_interval_of_no_error(positives):
    labels = np.repeat([1, 0], positives)[:, None]
    found = best(BINARY, labels, 0.95)
    share, area = (
        pytest.approx(low, abs=1e-6)
        for low in (wilson(positives, positives, 0.95)[0], newcombe(positives, positives, 0.95))
    )
    assert found["finetuned"] == {name: {"low": area} for name in ("auroc", "average_precision")}
    assert found["operating_point"] == {name: {"low": share} for name in ("sensitivity", "specificity", "ppv", "npv")}


@pytest.mark.parametrize("units", [1, 4])
def test_no_share_with_errors_shows_more(units):
    rng = np.random.default_rng(units)
    labels, drawn = np.repeat(np.arange(24) % 3 == 0, units).astype(int), patients(24, units)
    top = best(BINARY, labels[:, None], 0.95)
    for edge in (1, 2, 3, 4, 5, 6) * 5:
        called = rng.normal(size=len(labels)) + edge * labels > edge / 2
        for name in ("sensitivity", "specificity", "ppv", "npv"):
            found = getattr(metrics, name)(labels, called, drawn)
            assert found.figures()["low"] <= top["operating_point"][name]["low"], name


def test_each_class_has_its_own_and_too_few_of_it_are_said_so():
    """Classes of 4, 40 and 40 patients: nobody can show a sensitivity of 0.8 for the first, nor an AUROC of 0.99."""
    labels = np.eye(3, dtype=np.int64)[np.repeat([0, 1, 2], [4, 40, 40])]
    drawn = patients(84)
    found = best(CLASSES, labels, 0.95)
    own = found["finetuned"]["classes"]
    assert own["low"]["sensitivity"]["low"] == pytest.approx(wilson(4, 4, 0.95)[0], abs=1e-6)
    assert own["mid"]["npv"]["low"] == pytest.approx(wilson(44, 44, 0.95)[0], abs=1e-6)
    assert set(found["operating_point"]) == {"sensitivity", "specificity"}
    called = labels[np.r_[1:84, 0]] == 1  # wrong at the edges of the classes
    shown = finetuned({}, CLASSES, labels, called.astype(float), called, drawn) | {"reachable": found}
    for name, few in (("low", True), ("mid", False)):
        bounds = {"sensitivity": 0.95, "auroc": 0.99}
        asked = [Criterion(metric=f"finetuned.classes.{name}.{of}.low", min=bound) for of, bound in bounds.items()]
        asked += [Criterion(metric=f"finetuned.classes.{name}.sensitivity.low", min=0.8)]
        results = acceptance.evaluate(asked, shown)[:3]
        assert [result.unreachable for result in results] == [True, True, few]
        assert [result.passed for result in results] == [False, False, not few]


@pytest.mark.parametrize("kind", ["auroc", "average_precision", "ppv", "npv"])
def test_a_criterion_of_any_short_name_is_known_to_be_out_of_reach(kind):
    labels = np.repeat([1, 0], 10)[:, None]
    near = {"low": 0.6, "value": 0.9}
    shown = {"finetuned": {"auroc": near, "average_precision": near}, "operating_point": {"ppv": near, "npv": near}}
    asked = [Criterion(**{f"{kind}_lower_ci": bound}) for bound in (0.7, 0.9)]
    judged = acceptance.evaluate(asked, shown | {"reachable": best(BINARY, labels, 0.95)})
    assert [result.unreachable for result in judged[:2]] == [False, True]


def test_nothing_is_reachable_without_a_positive():
    found = best(BINARY, np.zeros((4, 1), int), 0.95)
    assert np.isnan(found["operating_point"]["sensitivity"]["low"])
    assert np.isnan(found["finetuned"]["auroc"]["low"])
