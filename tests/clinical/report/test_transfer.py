"""The section on transfer: what it says for every way in which it can go."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pipeline.clinical.indicators import Comparison
from pipeline.clinical.report import transfer
from pipeline.clinical.resampling import Estimate

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


def with_budgets(learned, allowed, passes):
    """The same with other epochs allowed and other work of the trunk, of fine-tuning and the control."""
    curves = {
        name: replace(curve, allowed=epochs, work={**curve.work, "passes": np.linspace(0, total, len(curve.phases))})
        for (name, curve), epochs, total in zip(learned.curves.items(), allowed, passes, strict=True)
    }
    return replace(learned, curves=curves)


def spent(finetuned, scratch, value, low, high):
    return Comparison(finetuned, scratch, Estimate(value, low, high, 60))


def test_rows_hold_the_figures_of_the_indicators(content):
    rows = {row["name"]: row for row in transfer.rows(content.found, content.learned)}
    start, passes = content.learned.head_start, content.learned.sooner["passes"]
    head = rows["Head start"]
    assert (head["finetuned"], head["scratch"]) == (f"{start.finetuned:.2f}", "0.50")
    assert head["gain"] == f"+{start.gain.value:.2f}"
    assert head["interval"] == f"+{start.gain.low:.2f} to +{start.gain.high:.2f}"
    time = rows["Time to threshold, trunk work"]
    assert (time["finetuned"], time["scratch"]) == ("1k", "5k")
    assert time["gain"] == f"{passes.gain.value:.1f}{TIMES} sooner"
    assert f"{content.learned.reached:.0%} of the resamples" in time["what"]
    test = rows["Final level, test"]
    assert test["gain"] == f"{content.found.difference.value:+.2f}"
    assert list(rows)[-1] == "Final level, test"


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (spent(1000, 5000, 5.0, 2.0, 9.0), f"5.0{TIMES} sooner"),
        (spent(5000, 1000, 0.2, 0.1, 0.4), f"5.0{TIMES} later"),
        (spent(0, 5000, math.inf, 2.0, math.inf), "at no work"),
        (spent(math.inf, 5000, math.nan, 0.0, 0.4), "never there"),
        (spent(math.inf, math.inf, math.nan, math.nan, math.nan), "undefined"),
        (spent(0, 0, math.nan, math.nan, math.nan), "undefined"),
    ],
)
def test_the_way_to_the_threshold_is_said_in_words(of, words):
    assert transfer.times(of) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.44, math.inf, f"0.44{TIMES} to \N{INFINITY}"),
        (0.0, 1.5, f"never to 1.5{TIMES}"),
        (0.0, 0.0, "never"),
        (math.inf, math.inf, "\N{INFINITY}"),
    ],
)
def test_bounds_that_are_no_numbers_are_words(content, low, high, words):
    learned = replace(content.learned, sooner={**content.learned.sooner, "passes": spent(10, 20, 2.0, low, high)})
    row = transfer.rows(content.found, learned)[1]
    assert row["interval"] == words


@pytest.mark.parametrize(
    ("allowed", "passes", "says"),
    [
        ((6, 6), (2000, 6000), None),
        ((6, 4), (2000, 6000), "allowed fewer epochs than the fine-tuned network's trunk, 4 of 6"),
        ((6, 6), (6000, 2000), "did less work on its trunk, 2k of 6k. It was allowed as many epochs"),
    ],
)
def test_a_control_with_less_is_flagged(content, allowed, passes, says):
    learned = with_budgets(content.learned, allowed, passes)
    assert says in transfer.less(learned) if says else transfer.less(learned) == ""
    assert learned.figures()["budget"]["control_had_less"] is (says is not None)


def test_budgets_say_what_was_allowed_and_what_was_taken(content):
    rows = {name: values for name, *values in transfer.budgets(content.learned)}
    assert rows == {
        "Epochs in which the trunk learnt": ["4 of 6 allowed", "6 of 6 allowed"],
        "Epochs in all": ["7", "6"],
        "Slices learnt from": ["7k", "6k"],
        "Trunk work": ["2k", "6k"],
    }


def test_the_drawing_starts_both_at_nothing_and_ends_at_their_work(content):
    drawing = transfer.chart(content.learned)
    ET.fromstring(drawing)
    ends = {}
    for model in ("finetuned", "scratch"):
        points = re.search(rf'points="([^"]*)" class="line {model}"', drawing).group(1).split()
        assert len(points) == len(content.learned.aurocs[model])
        ends[model] = (float(points[0].split(",")[0]), float(points[-1].split(",")[0]))
    assert ends["finetuned"][0] == ends["scratch"][0]
    reach = {model: right - left for model, (left, right) in ends.items()}
    assert reach["finetuned"] / reach["scratch"] == pytest.approx(2000 / 6000, rel=0.01)
    assert "head start" in drawing
    assert f"control's best {content.learned.level:.2f}".replace("'", "&#39;") in drawing
    assert drawing.count("big") == 2


def test_a_level_that_was_never_reached_has_no_dot(content):
    passes = spent(math.inf, 5000, math.nan, 0.0, 0.4)
    drawing = transfer.chart(replace(content.learned, sooner={**content.learned.sooner, "passes": passes}))
    ET.fromstring(drawing)
    assert "dot scratch big" in drawing
    assert "dot finetuned big" not in drawing
    assert "inf" not in drawing


def test_undefined_figures_are_drawn_as_nothing_and_said(one_class):
    drawing = transfer.chart(one_class.learned)
    ET.fromstring(drawing)
    assert '"nan' not in drawing
    rows = transfer.rows(one_class.found, one_class.learned)
    assert {row["finetuned"] for row in rows[:1]} == {"n/a"}
    assert all(row["gain"] == "undefined" for row in rows)
    assert transfer.section(one_class.found, one_class.learned)["badge"] == "Undefined"


@pytest.mark.parametrize(
    ("low", "high", "badge"),
    [(0.1, 0.2, "Positive transfer"), (-0.1, 0.2, "Neutral"), (-0.2, -0.1, "Negative transfer")],
)
def test_the_badge_is_the_verdict(content, low, high, badge):
    found = replace(content.found, difference=Estimate((low + high) / 2, low, high, 60))
    assert transfer.section(found, content.learned)["badge"] == badge
