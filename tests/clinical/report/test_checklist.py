"""What the checklists claim: what was measured and stated, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.clinical.report import checklist
from pipeline.clinical.report.page import render
from pipeline.clinical.report.table_one import Group
from tests.clinical.report.full_metrics import NONE
from tests.clinical.report.test_page import Page


def items(content):
    """State and answer by list and item."""
    return {
        (entry["name"].split()[0], item["item"]): (item["state"], item["answer"])
        for entry in checklist.checklists(content)
        for item in entry["items"]
    }


def with_data(content, **stated):
    return replace(
        content, params=content.params.model_copy(update={"data": content.params.data.model_copy(update=stated)})
    )


def with_figures(content, **sections):
    return replace(content, figures={**content.figures, **sections})


@pytest.mark.parametrize("which", ["full", "content", "one_class"])
def test_every_item_is_answered_or_says_why_not(request, which):
    assert_answered(request.getfixturevalue(which))


def test_every_item_of_several_classes_is_answered_or_says_why_not(several):
    assert_answered(several)


def assert_answered(content):
    lists = {entry["name"]: entry for entry in checklist.checklists(content)}
    assert {name: len(entry["items"]) for name, entry in lists.items()} == {
        "CLAIM 2024": 44,
        "TRIPOD+AI 2024": 52,
        "STARD-AI 2025": 48,
    }
    for entry in lists.values():
        numbers = [item["item"] for item in entry["items"]]
        assert len(numbers) == len(set(numbers))
        for item in entry["items"]:
            assert item["answer"]
            assert "{" not in item["answer"]
            none = {"n/a": "Not applicable, because ", "not reported": "Not reported: "}
            assert item["answer"].startswith(none.get(item["state"], "")), item
            if item["state"] == "answered":
                for word in ("undefined", "n/a", "None", "nan", "not known", " .", ", ."):
                    assert word not in item["answer"].replace("its figures undefined", ""), item
    assert {item["item"] for item in lists["STARD-AI 2025"]["items"]} >= {str(number) for number in (1, 24, 30, 39)}


@pytest.mark.parametrize("item", ["20", "21", "30", "35", "37", "41"])
def test_what_was_not_measured_is_not_claimed(full, item):
    assert items(full)["CLAIM", item][0] == "answered"
    names = ("leakage", "sample_size", "subgroups", "flow", "usefulness")
    for nothing in (None, {}, []):
        found = items(with_figures(full, **dict.fromkeys(names, nothing)))["CLAIM", item]
        # Patients stand on one side by name whatever was measured.
        assert found[0] == "not reported" or (item == "20" and found[1].endswith("checked in every run."))


@pytest.mark.parametrize(
    ("name", "hollow", "item"),
    [
        ("usefulness", {"net_benefit": NONE, "treat_all": float("nan"), "reason": "no unit"}, ("CLAIM", "41")),
        ("sample_size", {"auroc": {"width": None, "wanted": 0.1, "patients": 9}}, ("STARD-AI", "22")),
        ("test_set", {"opened": None}, ("STARD-AI", "40b")),
        ("finetuned", {"auroc": {**NONE, "value": float("nan")}}, ("CLAIM", "38")),
    ],
)
def test_an_undefined_figure_is_no_answer(full, name, hollow, item):
    state, answer = items(with_figures(full, **{name: hollow}))[item]
    assert state == "not reported" or answer == "Predictions of every unit stand in reports/predictions.csv."


@pytest.mark.parametrize("empty", ["", "  ", "."])
def test_data_whose_source_or_licence_is_not_stated_are_not_reported(full, empty):
    found = items(with_data(full, source=empty))
    for item in (("CLAIM", "7"), ("TRIPOD+AI", "5a"), ("STARD-AI", "11")):
        assert found[item] == ("not reported", "Not reported: source is empty or undefined.")
    assert items(with_data(full, licence=empty))["CLAIM", "43"][0] == "not reported"


def test_only_what_is_known_of_the_patients_is_claimed(full):
    assert items(full)["CLAIM", "36"][1].startswith("Patients by side: age, sex, field strength, vendor, site; no")
    bare = replace(full, groups=[full.groups[0], Group("Sex", "not known", (84, 34, 50), ())])
    for item in (("CLAIM", "13"), ("CLAIM", "36"), ("TRIPOD+AI", "20b"), ("STARD-AI", "25"), ("STARD-AI", "28")):
        assert items(bare)[item][0] == "not reported"


def test_other_sites_are_claimed_where_nobody_else_is_from_there(full):
    assert items(full)["CLAIM", "33"][0] == "not reported"
    apart = [full.groups[0], Group("Site", "north", (84, 34, 0), ()), Group("Site", "south", (0, 0, 50), ())]
    found = items(replace(full, groups=apart))
    assert found["STARD-AI", "29"] == found["CLAIM", "33"]
    assert found["CLAIM", "33"][1].startswith("All test patients are from south, where nobody is")
    unknown = [*apart[:2], Group("Site", "south", (0, 0, 49), ()), Group("Site", "not known", (0, 0, 1), ())]
    assert items(replace(full, groups=unknown))["CLAIM", "33"][0] == "not reported"


def test_severity_is_what_only_the_positives_have(full):
    assert items(full)["STARD-AI", "26a"][0] == "not reported"
    sizes = [{**row, "attribute": "lesion_size", "units": 9, "positive": 9} for row in full.figures["subgroups"][:2]]
    whole = with_figures(full, subgroups=[*full.figures["subgroups"], *sizes])
    assert items(whole)["STARD-AI", "26a"][1] == "By lesion size, which the positives alone have, among the subgroups."


def test_the_decision_is_said_as_it_is_made(full, several):
    assert items(full)["TRIPOD+AI", "15"][1].startswith("A probability, and a call at the threshold 0.52; rule:")
    said = items(several)["TRIPOD+AI", "15"][1]
    if several.found.targets.kind == "multiclass":
        assert "a call for the most probable class" in said
    else:
        assert said.count("(") == len(several.found.targets.named)
    assert (items(several)["STARD-AI", "30"][0] == "answered") == (several.found.targets.kind == "multiclass")


def test_a_threshold_that_was_moved_is_not_called_fixed_before(full):
    moved = with_figures(full, test_set={**full.figures["test_set"], "threshold_moved": True})
    assert items(moved)["STARD-AI", "15c"][1].endswith("changed after the model had met a test set.")


def test_without_cases_none_are_claimed(full):
    found = items(replace(full, examples=[]))
    assert (found["CLAIM", "31"][0], found["CLAIM", "39"][0]) == ("not reported", "not reported")


def test_not_reported_stands_in_plain_sight(full):
    words = " ".join(Page(render(full)).words.split())
    for entry in checklist.checklists(full):
        assert f"{entry['counts']['not reported']} not reported" in words
        assert entry["counts"]["not reported"] > 5


def test_what_counts_as_measured():
    assert checklist.measured({"value": 0.0})
    assert checklist.measured(0)
    assert checklist.measured({"scratch": {"auroc": {"value": 0.5}}})
    for nothing in (None, "", [], {}, float("nan"), np.inf, {"value": None}, {"reason": "none"}, {"method": "x"}):
        assert not checklist.measured(nothing), nothing
