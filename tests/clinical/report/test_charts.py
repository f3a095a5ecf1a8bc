import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pipeline.clinical.curves import Bin, roc
from pipeline.clinical.report import charts
from pipeline.clinical.report.forest import Interval, forest
from pipeline.clinical.report.svg import Frame, tag, ticks


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.43, 1.02, 5, [0.6, 0.8, 1.0]),
        (-0.02, 0.13, 5, [0, 0.05, 0.1]),
        (1, 38, 8, [5, 10, 15, 20, 25, 30, 35]),
    ],
)
def test_ticks_are_round(low, high, about, expected):
    assert ticks(low, high, about) == pytest.approx(expected)


def test_a_frame_puts_the_corners_of_the_data_at_its_own():
    frame = Frame(10, 20, 100, 50, (0, 4), (-1, 1))
    assert (frame.x(0), frame.x(4)) == (10, 110)
    assert (frame.y(1), frame.y(-1)) == (20, 70)


def test_what_is_said_is_escaped():
    assert tag("text", 'a <b> & "c"', cls="x") == '<text class="x">a &lt;b&gt; &amp; &#34;c&#34;</text>'


def test_the_roc_passes_through_its_corners():
    curve = roc(np.array([1, 0, 1, 0]), np.array([4.0, 3, 2, 1]))
    drawing = charts.roc(dict.fromkeys(charts.MODELS, curve), (0.5, 1.0), 0.4)
    points = re.search(r'points="([^"]*)" class="line finetuned"', drawing).group(1).split()
    assert points == ["44.0,380.0", "44.0,210.0", "244.0,210.0", "244.0,40.0", "444.0,40.0"]
    assert "sensitivity 1.00, specificity 0.50" in drawing


def test_a_forest_names_what_is_undefined():
    rows = [Interval("Known", "probe", 0.8, 0.7, 0.9), Interval("Lost", "scratch", *[float("nan")] * 3)]
    plot = forest(rows, 0.5)
    drawn = [plot.bar(row) for row in rows]
    for drawing in (*drawn, plot.axis()):
        assert ET.fromstring(drawing).get("aria-hidden") == "true"
        assert '="nan' not in drawing
    assert [row.figure for row in rows] == ["0.80 (0.70 to 0.90)", "undefined"]
    assert drawn[0].count("<circle") == 1
    assert "<circle" not in drawn[1]


def test_the_rows_of_a_forest_share_a_scale():
    plot = forest([Interval("a", "probe", 0.6, 0.5, 0.7), Interval("b", "probe", 0.9, 0.8, 1.0)], 0.5)
    places = [float(re.search(r'cx="([^"]*)"', plot.bar(row))[1]) for row in plot.rows]
    ends = [float(re.search(r'x1="([^"]*)"[^>]*whisker', plot.bar(row))[1]) for row in plot.rows]
    assert places[1] - places[0] == pytest.approx(ends[1] - ends[0], abs=0.2)
    assert places[1] > places[0]


def test_precision_and_recall_name_the_prevalence():
    rows = [{"recall": "0.5", "finetuned": "1", "probe": "0.75", "scratch": ""}, {"recall": "1", "finetuned": "0.5"}]
    drawing = charts.precision_recall(rows, 0.25, (0.5, 1.0))
    assert re.search(r'points="244.0,40.0 444.0,210.0" class="line finetuned"', drawing)
    assert "prevalence 0.25" in drawing
    assert "recall 0.50, precision 1.00" in drawing
    ET.fromstring(charts.precision_recall(rows, math.nan, (math.nan, math.nan)))


def test_the_band_of_a_reliability_diagram_leaves_out_what_has_no_interval():
    bins = [Bin(0.1, 0.0, 0.0, 0.3, 5), Bin(0.5, 0.4, math.nan, math.nan, 5), Bin(0.9, 1.0, 0.7, 1.0, 5)]
    drawing = charts.reliability(bins, "Observed", [(0, 3), (2, 0)])
    ET.fromstring(drawing)
    assert "nan" not in drawing
    assert drawing.count("spike") == 2
    polygon = re.search(r'<polygon points="([^"]*)"', drawing)[1]
    assert len(polygon.split()) == 4


def test_a_history_of_one_epoch_can_be_drawn():
    one = [charts.Epoch("head", 0.7, float("nan"))]
    for drawing in charts.training({"finetuned": one, "scratch": one}):
        ET.fromstring(drawing)
        assert 'cx="nan' not in drawing
