"""The ladder in words: each rung, why it is refused or did not run, and what test patients say of the chosen one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.clinical.report.page import render
from pipeline.clinical.report.precision import section
from pipeline.clinical.report.svg import minus
from tests.clinical.report.full_metrics import CONFIRMED, LADDER
from tests.clinical.report.test_page import Page


@pytest.fixture(scope="module")
def rows():
    return {row["name"]: row for row in section(LADDER, {}, "series")["rows"]}


def test_each_rung_says_what_it_changes_and_how_it_went(rows) -> None:
    assert [row["went"] for row in rows.values()] == ["allowed", "allowed", "allowed", "not run", "refused", "chosen"]
    assert dict(rows["OpenVINO, int8"]["cells"]) == {
        "Largest": "0.0187",
        "Mean": "0.0021",
        "AUROC": minus("-0.0012 (-0.0042 to 0.0018)"),
        "Flips": "1 (0 outside the band)",
        "Milliseconds": "6.2",
        "Speed": "9.9 \N{MULTIPLICATION SIGN}",
    }
    assert dict(rows["ONNX Runtime, fp32"]["cells"])["AUROC"] == "0.0000"
    assert rows["ONNX Runtime, int8"]["why"] == "1 decision flips farther than 0.02 from the threshold"
    assert dict(rows["ONNX Runtime, fp16"]["cells"])["AUROC"] == "0.0000 (0.0000 to 0.0001)"
    assert rows["OpenVINO, fp16"]["cells"] is None
    assert rows["OpenVINO, fp16"]["why"].startswith("layers that run in f32")
    assert rows["OpenVINO, int8"]["note"] == "1 of 21 layers behind the stem left in float, the most sensitive"


@pytest.mark.parametrize(
    ("figure", "badge", "said"),
    [
        (CONFIRMED, "Confirmed", "largest difference of a probability 0.0203, change of AUROC"),
        (
            CONFIRMED | {"confirmed": False, "refused": "AUROC may fall"},
            "Not confirmed",
            "promised: AUROC may fall. It is not",
        ),
        (CONFIRMED | {"runtime": "onnxruntime", "precision": "fp32"}, "Confirmed", "there is nothing to confirm"),
        (None, "Not confirmed", "not measured"),
    ],
)
def test_the_confirmation_is_that_of_the_metrics(figure, badge: str, said: str) -> None:
    found = section(LADDER, {} if figure is None else {"precision": figure}, "series")["confirmation"]
    assert found["badge"] == badge
    assert said in found["sentence"]


def test_the_page_shows_the_table_and_the_machine(full) -> None:
    words = " ".join(Page(render(full)).words.split())
    for said in (
        "How it runs Confirmed OpenVINO 2026.4.1, CPU, int8, on 50 test series",
        "34 validation series of 34 patients",
        "one call with 20 slices on Linux on x86_64, Processor <Example>; no GPU",
        "no decision farther than 0.02 from the threshold",
        "whose AUROC falls by no more than 0.01",
    ):
        assert said in words, said
    plain = {"runtime": "onnxruntime", "precision": "fp32"}
    ladder = LADDER | {"int8": None, "rungs": LADDER["rungs"][:2], "runs": plain}
    assert "left in float" not in Page(render(replace(full, ladder=ladder))).words
