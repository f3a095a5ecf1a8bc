import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pipeline.clinical.curves import roc
from pipeline.clinical.report import charts
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
    rows = [charts.Interval("Known", "probe", 0.8, 0.7, 0.9), charts.Interval("Lost", "scratch", *[float("nan")] * 3)]
    drawing = charts.forest("f", rows, 0.5, "AUROC")
    ET.fromstring(drawing)
    assert "0.80 (0.70 to 0.90)" in drawing
    assert "undefined" in drawing
    assert 'x1="nan' not in drawing


def test_a_history_of_one_epoch_can_be_drawn():
    one = [charts.Epoch("head", 0.7, float("nan"))]
    drawing = charts.training({"finetuned": one, "scratch": one})
    ET.fromstring(drawing)
    assert 'cx="nan' not in drawing
