"""The page with every figure that it can show: each stands there as it was measured, and what is absent is said."""

import re
from dataclasses import replace

import pytest

from pipeline.clinical.report import flow, groups, honesty, usefulness
from pipeline.clinical.report.figures import percent, probability, share, shown
from pipeline.clinical.report.page import render
from tests.clinical.report import full_metrics
from tests.clinical.report.test_page import Page


@pytest.fixture(scope="module")
def words(full):
    return " ".join(Page(render(full)).words.split())


def test_every_figure_stands_there(words):
    for said in (
        "Average precision0.910.85 to 0.97",
        "Positive likelihood ratio",
        "3.90 (2.20 to 7.00)",
        "of it, miscalibration",
        "0.920 (0.550 to 1.300)",
        "Of 1,000: 90 found, 10 missed, 207 false alarms, 693 cleared.",
        "A call is right in 30% (21% to 39%)",
        "Warning vendor Philips: its sensitivity lies below the criterion",
        "The test set was opened 3 times. 2 different models have met it",
        "Among 3,360 slices of 168 patients, 2 pairs of nearly equal slices stand on two sides.",
        "P-0a1b2c (train) and P-9f8e7d (test): 2 pairs of slices, likeness 0.981",
        "62% (51% to 73%) of 211 slices",
        "a random point inside the head would in 8% (6% to 10%)",
        "That is better than chance.",
        "0.11 (0.04 to 0.18)",
    ):
        assert said in words, said
    assert "not measured" not in words.replace("changed images was not measured", "")


@pytest.fixture(scope="module")
def bare(content):
    """Figures without any section that may be absent."""
    figures = {name: content.figures[name] for name in ("finetuned", "probe", "scratch", "test", "transfer")}
    point = {name: content.figures["operating_point"][name] for name in ("threshold", "sensitivity", "specificity")}
    brier = {"brier": content.figures["calibration"]["brier"]}
    return replace(content, figures={**figures, "operating_point": point, "calibration": brier})


def test_what_is_absent_is_said_with_the_reason(bare):
    words = " ".join(Page(render(bare)).words.split())
    for said in (
        "What the threshold means for 1,000 series: not measured, because",
        "The decision curve: not measured, because reports/plots holds no decision_curve.csv",
        "How often the test set was opened is not measured",
        "Subgroups: not measured, because the metrics hold none",
        "Whether it points at lesions is not measured: no masks of lesions were given.",
    ):
        assert said in words, said
    assert "None" not in words.replace("None among", "").replace("none", "")
    assert "nan" not in words.lower().split()


def test_what_came_of_a_thousand_is_whole_and_a_thousand():
    for entry in usefulness.thousand(full_metrics.figures(), "series"):
        assert sum(entry["counts"].values()) == 1000
        drawn = re.findall(r'd="([^"]*)"', entry["drawing"])
        assert sum(path.count("h0") + path.count("m0-6") + path.count("a3 3 0 1 0 6 0") for path in drawn) == 1000


def test_an_undefined_count_draws_nothing():
    counts = {"found": None, "missed": 1, "false_alarms": 2, "cleared": 997}
    assert usefulness.thousand({"operating_point": {"at_prevalence": {"0.1": {"per_1000": counts}}}}, "series") == []


def test_a_decision_curve_says_where_the_model_is_best():
    rows = [
        {"threshold": "0.1", "model": "0.4", "low": "0.3", "high": "0.5", "treat_all": "0.45", "treat_none": "0"},
        {"threshold": "0.2", "model": "0.4", "low": "", "high": "", "treat_all": "0.35", "treat_none": "0"},
        {"threshold": "0.3", "model": "-0.1", "low": "", "high": "", "treat_all": "-0.3", "treat_none": "0"},
    ]
    assert usefulness.summary(rows).startswith("At a threshold of 0.20 the model is worth more")
    assert usefulness.summary(rows[:1]) == "At no threshold is the model worth more than treating all or none."
    assert usefulness.numbers(rows)[1] == ["0.20", "0.400", "0.350", "0.000"]


@pytest.mark.parametrize(
    ("better", "said"),
    [
        ("0111001100", "Between thresholds of 0.20 and 0.40 and between thresholds of 0.70 and 0.80 the model"),
        ("1111111111", "Between thresholds of 0.10 and 1.00 the model"),
        ("0110001000", "Between thresholds of 0.20 and 0.30 and at a threshold of 0.70 the model"),
        (
            "1101101101",
            "0.40 and 0.50, between thresholds of 0.70 and 0.80 and at 1 further one the model",
        ),
    ],
)
def test_a_decision_curve_that_is_best_here_and_there_is_not_called_so_in_between(better, said):
    rows = [
        {"threshold": f"{(place + 1) / 10}", "model": own, "treat_all": "-0.1", "treat_none": "0"}
        for place, own in enumerate(better)
    ]
    assert said in usefulness.summary(rows)


def test_small_groups_and_undefined_figures_are_shown_and_marked():
    rows = {
        row["name"]: row
        for part in groups.subgroups(full_metrics.merged(_measured()))["headings"].values()
        for row in part
    }
    assert rows["south"]["small"]
    assert rows["south"]["cells"]["auroc"]["figure"] == "undefined: no positive unit"
    assert rows["Philips"]["warning"]
    assert not rows["north"]["small"]


def test_how_many_groups_were_looked_at_stands_beside_them(words):
    assert (
        "9 groups of 4 kinds were looked at, and 8 have a gap with an interval. Of so many about 0.4 would lie wholly "
        "on one side of 0 by chance, if the model did equally well for all; here 0 do."
    ) in words
    far = full_metrics.merged(_measured())
    far["subgroups"][0]["gap"] = full_metrics.e(-0.3, 0.1)
    assert "about 0.8 would" in groups.subgroups(far, 0.9)["many"]
    assert "here 1 does." in groups.subgroups(far)["many"]
    assert groups.subgroups({**far, "subgroups": []})["many"] == ""


def _measured():
    area = {"auroc": full_metrics.e(0.9, 0.05)}
    shares = {"sensitivity": full_metrics.e(0.9, 0.1), "specificity": full_metrics.e(0.8, 0.1)}
    return {**dict.fromkeys(("finetuned", "probe", "scratch"), area), "operating_point": {"threshold": 0.5, **shares}}


@pytest.mark.parametrize(
    ("opened", "models", "splits", "moved", "cls"),
    [
        (1, 1, 1, False, "positive"),
        (2, 1, 1, False, "plain"),
        (1, 1, 2, False, "plain"),
        (2, 2, 1, False, "negative"),
        (2, 1, 1, True, "negative"),
        (1, 1, 2, True, "negative"),
    ],
)
def test_uses_of_the_test_set_are_counted_and_judged(opened, models, splits, moved, cls):
    of = {"opened": opened, "models": models, "splits": splits, "threshold_moved": moved}
    said = honesty.test_set({"test_set": of})
    assert said["cls"] == cls
    assert any("its first use" in note for note in said["notes"]) == (cls == "positive")
    assert any("2 different splits" in note for note in said["notes"]) == (splits == 2)
    assert said["sentence"] == f"The test set was opened {'once' if opened == 1 else 'twice'}."


SEEN = {"opened": 2, "models": 1, "splits": 1, "threshold_moved": False}
APART = {"patients": 40, "slices": 400, "exact": 0, "near": 0, "findings": []}


@pytest.mark.parametrize(
    ("sections", "there", "not_there"),
    [
        ({"test_set": SEEN | {"opened": 1}, "leakage": APART}, ["fixed before these patients", "had never met"], []),
        ({"test_set": SEEN, "leakage": APART}, ["fixed on validation patients, it finds"], ["fixed before these"]),
        (
            {"test_set": SEEN | {"threshold_moved": True}, "leakage": APART},
            ["changed after the model had met a test set, it finds", "so these figures do not confirm it"],
            ["fixed before", "only confirm it"],
        ),
        (
            {"test_set": SEEN | {"splits": 2, "model_splits": 2}, "leakage": APART},
            ["some of whom the model may have learnt from", "This very model was tested on 2 splits"],
            ["had never met"],
        ),
        (
            {"test_set": SEEN, "leakage": APART | {"near": 2}},
            ["some of whom may stand on two sides"],
            ["had never met", "dealt to sides whole. "],
        ),
    ],
)
def test_the_page_nowhere_contradicts_ledger_and_leakage(content, sections, there, not_there):
    whole = replace(content, figures={**content.figures, **sections})
    words = " ".join(Page(render(whole)).words.split()).partition("What journals")[0]
    assert [said for said in there if said not in words] == []
    assert [said for said in not_there if said in words] == []


def test_the_first_page_says_what_weakens_its_figures(full):
    first = " ".join(Page(render(full)).words.split()).partition("What was asked, and what came")[0]
    assert "opened 3 times. 2 different models have met it" in first


def test_a_pointing_game_no_better_than_chance_is_not_praised():
    of = {
        "method": "Grad-CAM",
        "pointing_game": full_metrics.e(0.2, 0.15),
        "gain": full_metrics.e(0.1, 0.15),
        "chance": full_metrics.e(0.1, 0.01),
        "slices": 9,
    }
    assert "points elsewhere" not in honesty.explanation({"explanation": of})["sentence"]
    lucky = {**of, "gain": full_metrics.e(0.1, 0.05)}
    assert (
        "better than chance, and still in most slices it points elsewhere"
        in honesty.explanation({"explanation": lucky})["sentence"]
    )
    assert "not clearly better than chance" in honesty.explanation({"explanation": of})["sentence"]


def test_the_boxes_of_the_flow_add_up(full):
    boxes = flow.flow(full, "series")
    assert boxes["found"] == boxes["refused"] + boxes["taken"]
    assert boxes["taken"] == boxes["unlabelled"] + boxes["used"]
    assert boxes["used"] == sum(side["series"] for side in boxes["sides"])
    assert boxes["patients"] == sum(side["patients"] for side in boxes["sides"])
    assert sum(positive + negative for _, positive, negative in boxes["ends"]) == full.figures["test"]["units"]
    words = " ".join(Page(render(full)).words.split())
    assert "174 series found 4 series refused" in words
    assert "170 series taken173 volumes, as some hold several 2 series without a label, not used" in words
    assert "168 series used, of 168 patients" in words


def test_files_that_are_no_dicom_belong_to_no_series(content):
    boxes = flow.flow(replace(content, rejected=[*content.rejected, ("not_dicom", "no DICOM", 7)]), "series")
    assert (boxes["found"], boxes["refused"], boxes["files"], boxes["taken"]) == (None, 4, 7, 168)


def test_text_of_the_metrics_is_escaped(full):
    figures = {**full.figures, "leakage": {"patients": 2, "slices": 3, "exact": 0, "near": 1, "findings": ["<b>x</b>"]}}
    html = render(replace(full, figures=figures))
    assert "<b>x</b>" not in html
    assert "SIEMENS &amp; &lt;Co&gt;" in html


def test_figures_are_said_with_as_many_digits_as_matter():
    assert [share(value) for value in (0.5, 0.999, 0.9999, 1.0, 0.0, 0.004)] == [
        "50%",
        "99.9%",
        "99.99%",
        "100%",
        "0%",
        "0.4%",
    ]
    assert percent({"value": None, "reason": "one class"}) == "undefined: one class"
    assert [probability(p) for p in (0.0001, 0.0234, 0.31, None)] == ["< 0.001", "0.023", "0.31", "n/a"]
    assert shown(None) == "not measured"
    assert shown({"value": 11485.68, "low": -1926.4, "high": 999.5}) == "11,486 (\N{MINUS SIGN}1,926 to 999.50)"
