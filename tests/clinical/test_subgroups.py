import numpy as np
import pytest

from pipeline.clinical import metrics, subgroups
from pipeline.clinical.resampling import Estimate, draw
from pipeline.clinical.units import Units
from pipeline.validation_config import Criterion, Validate

SETTINGS = Validate(bootstrap=300, confidence=0.95, small_group=20)
AT_LEAST = [Criterion(sensitivity_lower_ci=0.8), Criterion(sensitivity=0.7), Criterion(auroc=0.99)]


def units(labels, patients=None):
    size = len(labels)
    names = [f"P-{i}" for i in range(size)] if patients is None else patients
    return Units([f"u{i}" for i in range(size)], names, np.reshape(labels, (size, -1)), np.arange(size), [])


def answers(size=400, worse=0.0, **attributes):
    """Units of two sexes, F's positives missed in `worse` of the cases."""
    rng = np.random.default_rng(0)
    labels = np.arange(size) % 2
    sexes = np.where(np.arange(size) // 2 % 2, "F", "M")
    scores = labels * 3.0 + rng.normal(size=size)
    missed = (labels == 1) & (sexes == "F") & (rng.random(size) < worse)
    scores[missed] = rng.normal(size=missed.sum()) - 2
    groups = {"sex": sexes.tolist(), **attributes}
    return subgroups.Answers(units(labels), scores[:, None], (scores >= 1)[:, None], groups)


def test_a_subgroup_made_worse_stands_out():
    female, male = subgroups.measure(answers(worse=0.6), SETTINGS, AT_LEAST)
    assert (female["attribute"], female["group"], male["group"]) == ("sex", "F", "M")
    assert female["gap"]["high"] < 0 < male["gap"]["low"]
    assert female["gap"]["value"] == pytest.approx(-male["gap"]["value"])
    assert female["warning"].startswith("sensitivity is below 0.8")
    assert male["warning"] is None
    assert (female["units"], female["patients"], female["positive"], female["small"]) == (200, 200, 100, False)


def test_without_a_difference_nothing_stands_out():
    for group in subgroups.measure(answers(), SETTINGS, AT_LEAST):
        assert group["gap"]["low"] < 0 < group["gap"]["high"]
        assert group["warning"] is None


def test_without_a_criterion_of_sensitivity_nothing_is_warned_of():
    assert subgroups.measure(answers(worse=0.9), SETTINGS, [Criterion(auroc=0.9)])[0]["warning"] is None


def test_figures_of_a_group_are_those_of_its_units_alone():
    given = answers(worse=0.4)
    female = np.array(given.attributes["sex"]) == "F"
    found = subgroups.measure(given, SETTINGS)[0]
    drawn = draw(np.array(given.units.patients)[female].tolist(), 300, 0.95, 1)
    labels = given.units.labels[female]
    assert found["auroc"] == metrics.auroc(labels, given.scores[female], drawn).figures()
    assert found["sensitivity"] == metrics.sensitivity(labels, given.called[female], drawn).figures()
    assert found["specificity"] == metrics.specificity(labels, given.called[female], drawn).figures()


def test_small_groups_and_unknown_values_are_flagged_not_hidden():
    sites = ["A"] * 200 + ["B"] * 195 + [""] * 5
    found = {g["group"]: g for g in subgroups.measure(answers(site=sites), SETTINGS) if g["attribute"] == "site"}
    assert list(found) == ["A", "B", "unknown"]
    assert [found[name]["small"] for name in found] == [False, False, True]
    assert found["unknown"]["patients"] == 5


@pytest.mark.parametrize(("positives", "small"), [(9, True), (10, False), (31, True), (30, False)])
def test_a_group_with_few_patients_of_one_kind_is_small_too(positives, small):
    labels = np.array([1] * positives + [0] * (40 - positives) + [1, 0] * 100)
    given = subgroups.Answers(
        units(labels), labels[:, None] * 1.0, labels[:, None] == 1, {"site": ["A"] * 40 + ["B"] * 200}
    )
    assert [group["small"] for group in subgroups.measure(given, SETTINGS)] == [small, False]
    of_few = units(labels, [f"P-{i}" if label == 0 or i >= 40 else f"P-{i % 9}" for i, label in enumerate(labels)])
    given = subgroups.Answers(of_few, given.scores, given.called, given.attributes)
    assert subgroups.measure(given, SETTINGS)[0]["small"]  # many positive units, of nine patients


def test_a_group_with_few_patients_of_one_class_of_several_is_small_too():
    rare = np.eye(3, dtype=np.int64)[[0] * 30 + [1] * 26 + [2] * 4 + [0, 1, 2] * 20]
    given = subgroups.Answers(units(rare), rare * 1.0, rare == 1, {"site": ["A"] * 60 + ["B"] * 60})
    assert [group["small"] for group in subgroups.measure(given, SETTINGS)] == [True, False]


def test_a_group_of_one_class_has_reasons_in_place_of_figures():
    sites = ["A" if label else "B" for label in answers().units.labels[:, 0]]
    found = [g for g in subgroups.measure(answers(site=sites), SETTINGS, AT_LEAST) if g["attribute"] == "site"]
    assert np.isnan(found[0]["auroc"]["value"])
    assert "one class" in found[0]["gap"]["reason"]
    assert "no positive unit" in found[1]["sensitivity"]["reason"]
    row = subgroups.table(found)[1]
    assert list(row) == subgroups.COLUMNS or set(row) == set(subgroups.COLUMNS)
    assert (row["auroc"], row["sensitivity_low"], row["small"], row["warning"]) == ("", "", "true", "")


def test_a_score_that_is_no_number_has_no_figures():
    given = answers()
    given.scores[2] = np.nan
    female, male = subgroups.measure(given, SETTINGS, AT_LEAST)
    for name in ("auroc", "sensitivity", "specificity"):
        assert "not finite" in female[name]["reason"]
        assert np.isfinite(male[name]["value"])
    assert "not finite" in male["gap"]["reason"]
    assert female["warning"] is None


def test_an_attribute_of_one_value_or_none_is_left_out():
    given = answers(vendor=["ACME"] * 400, site=[""] * 400)
    assert {group["attribute"] for group in subgroups.measure(given, SETTINGS)} == {"sex"}


def test_what_only_positives_have_is_compared_with_all_negatives():
    labels = answers().units.labels[:, 0]
    sizes = [("large" if i % 4 == 1 else "small") if label else "" for i, label in enumerate(labels)]
    found = [g for g in subgroups.measure(answers(lesion=sizes), SETTINGS) if g["attribute"] == "lesion"]
    assert [group["group"] for group in found] == ["large", "small"]
    for group in found:
        assert (group["units"], group["positive"]) == (100, 100)
        assert np.isfinite([group[name]["value"] for name in ("auroc", "sensitivity", "gap")]).all()
        assert "only positives" in group["specificity"]["reason"]


def test_the_interval_of_a_gap_is_squared_and_added():
    # Zou & Donner 2008: (0.9; 0.8, 0.95) less (0.7; 0.6, 0.8)
    found = subgroups._gap(Estimate(0.9, 0.8, 0.95, 9), Estimate(0.7, 0.6, 0.8, 9))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - np.sqrt(0.1**2 + 0.1**2))
    assert found.high == pytest.approx(0.2 + np.sqrt(0.05**2 + 0.1**2))


def test_several_classes_have_figures_too():
    labels = np.eye(3, dtype=np.int64)[np.arange(120) % 3]
    scores = labels + np.random.default_rng(0).normal(size=(120, 3))
    called = np.eye(3, dtype=bool)[scores.argmax(1)]
    given = subgroups.Answers(units(labels), scores, called, {"sex": ["F", "M"] * 60})
    for group in subgroups.measure(given, SETTINGS):
        assert 0.5 < group["auroc"]["value"] < 1
        assert group["positive"] == 60


INDEX = [
    {"series": "S-1", "sex": "F", "age_years": "17", "vendor": "ACME", "field_strength_t": "1.494"},
    {"series": "S-2", "sex": "F", "age_years": "18", "vendor": "Other", "field_strength_t": "2.8936"},
    {"series": "S-3", "sex": "", "age_years": "83", "vendor": "ACME", "field_strength_t": "4.0"},
    {"series": "S-4", "sex": "M", "age_years": "old", "vendor": "ACME", "field_strength_t": ""},
]


def test_the_groups_of_units_come_from_the_index_and_the_labels():
    slices = [{"series": f"S-{i}", "patient": f"P-{i}", "slice_index": "0", "unit": f"S-{i}"} for i in range(1, 6)]
    slices[1]["unit"] = "S-1"  # a unit of two scans
    labels = [
        {"series": f"S-{i}", "patient": f"P-{i}", "slice_index": "", "label": "1", "site": "A", "size": "small"}
        for i in range(1, 5)
    ]
    ids = ["S-1", "S-3", "S-4", "S-5"]
    some = Units(ids, ids, np.ones((4, 1), int), np.arange(5), [row["unit"] for row in slices])
    assert subgroups.attributes(some, slices, INDEX, labels) == {
        "sex": ["F", "", "M", ""],
        "age_band": ["0-17+18-39", "80 and older", "", ""],
        "vendor": ["ACME+Other", "ACME", "ACME", ""],
        "field_strength": ["1.5 T+3 T", "4 T", "", ""],
        "site": ["A", "A", "A", ""],
        "size": ["small", "small", "small", ""],
    }


def test_slices_have_the_values_of_their_own_label():
    slices = [{"series": "S-1", "patient": "P", "slice_index": str(k), "unit": f"S-1/{k}"} for k in range(2)]
    labels = [{"series": "S-1", "slice_index": str(k), "site": "A", "size": size} for k, size in enumerate(("", "big"))]
    some = Units(["S-1/0", "S-1/1"], ["P", "P"], np.array([[0], [1]]), np.arange(2), ["S-1/0", "S-1/1"])
    assert subgroups.attributes(some, slices, INDEX, labels)["size"] == ["", "big"]
