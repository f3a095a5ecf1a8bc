"""The recommendation, its reasons and its evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.files import read_json, write_json
from pipeline.transfer import advisor


def candidate(logme: float, distance: float | None = 0.2, **val_auroc: float | None) -> dict[str, Any]:
    """A candidate of two layers, `low` and `high`."""
    scores = {"low": 0.7, "high": 0.8} | val_auroc
    layers = {
        name: {"depth": depth, "logme": logme, "val_auroc": scores[name]}
        for name, depth in (("low", 0.5), ("high", 1.0))
    }
    known = {name: score for name, score in scores.items() if score is not None}
    best = max(known, key=lambda name: known[name]) if known else "high"
    return {"domain_distance": distance, "best_layer": best, "layers": layers}


def known(patients: int = 30, **candidates: dict[str, Any]) -> dict[str, Any]:
    found = candidates or {"net": candidate(-0.4)}
    return {
        "chosen": next(iter(found)),
        "training": {"patients": 2 * patients, "patients_of_rarest": patients, "units": 99},
        "candidates": found,
    }


@pytest.mark.parametrize(
    ("patients", "distance", "expected"),
    [
        (advisor.PATIENTS, 0.2, "fine-tune"),
        (advisor.PATIENTS - 1, 0.2, "freeze"),
        (advisor.PATIENTS - 1, 1.5, "fine-tune"),
        (advisor.PATIENTS_FAR - 1, 1.5, "freeze"),
        (advisor.PATIENTS, None, "fine-tune"),
        (advisor.PATIENTS - 1, None, "freeze"),
    ],
)
def test_few_patients_near_by_freeze(patients: int, distance: float | None, expected: str) -> None:
    training = advisor.decide(known(patients, net=candidate(-0.4, distance)))["training"]
    assert training["choice"] == expected
    assert training["evidence"]["patients_of_rarest"] == patients
    assert f"{patients} training patients" in training["reason"]


@pytest.mark.parametrize(
    ("patients", "distance", "freezing", "tuning"),
    [
        (4, 0.35, 0.043, 0.002),
        (8, 0.35, 0.050, 0.000),
        (16, 0.35, 0.058, 0.000),
        (42, 0.2, 0.97 - 0.91, 0.0),
        (42, 0.2, 1.00 - 0.90, 0.0),
    ],
)
def test_the_choice_is_that_of_the_measured_outcome(
    patients: int, distance: float, freezing: float, tuning: float
) -> None:
    """What each way cost in AUROC, in LGG (decision 013, the second table) and in the demo (README)."""
    cheaper = "freeze" if freezing < tuning else "fine-tune"
    assert advisor.decide(known(patients, net=candidate(-0.4, distance)))["training"]["choice"] == cheaper


def test_the_backbone_of_the_highest_logme_is_recommended() -> None:
    advice = advisor.decide(known(first=candidate(-0.40), second=candidate(-0.30), third=candidate(-0.35)))
    assert advice["backbone"]["choice"] == "second"
    assert advice["backbone"]["evidence"]["logme"] == {"first": -0.4, "second": -0.3, "third": -0.35}
    assert "-0.300, is above that of the chosen first, -0.400" in advice["backbone"]["reason"]


def test_the_layer_that_carries_the_classifier_decides_between_backbones() -> None:
    """A probe takes its own layer, a fine-tuned network its last one."""
    early, late = candidate(-0.4, low=0.9), candidate(-0.35)
    early["layers"]["low"]["logme"] = -0.3
    found = {"late": late, "early": early}
    assert advisor.decide(known(advisor.PATIENTS - 1, **found))["backbone"]["choice"] == "early"
    assert advisor.decide(known(advisor.PATIENTS, **found))["backbone"]["choice"] == "late"


def test_the_chosen_backbone_stays_where_another_is_hardly_better() -> None:
    advice = advisor.decide(known(first=candidate(-0.40), second=candidate(-0.40 + advisor.MARGIN / 2)))
    assert advice["backbone"]["choice"] == "first"
    assert "no reason to change" in advice["backbone"]["reason"]


def test_a_candidate_that_is_chosen_brings_its_own_layer_and_distance() -> None:
    second = candidate(-0.3, 2.0, low=0.9)
    advice = advisor.decide(known(advisor.PATIENTS_FAR, first=candidate(-0.4), second=second))
    assert advice["layer"]["choice"] == "low"
    assert "0.900 against 0.800 at the last layer" in advice["layer"]["reason"]
    assert advice["training"]["choice"] == "fine-tune"
    assert advice["training"]["evidence"]["domain_distance"] == 2.0


def test_layers_that_cannot_be_compared_leave_the_last_and_say_so() -> None:
    advice = advisor.decide(known(net=candidate(-0.4, low=None, high=None)))
    assert advice["layer"]["choice"] == "high"
    assert "cannot be compared" in advice["layer"]["reason"]


def test_the_sentences_are_for_readers() -> None:
    found = advisor.sentences(advisor.decide(known(3)))
    assert len(found) == 3
    assert found[0].startswith("Backbone: net. ")
    assert found[1].startswith("Layer: high. ")
    assert found[2].startswith("Training: freeze. ")
    assert all(sentence.endswith(".") for sentence in found)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    figures = known()
    figures["candidates"]["net"]["domain_distance"] = float("nan")
    advice = advisor.decide(figures)
    write_json(tmp_path / "transferability.json", figures | {"advice": advice})
    assert advisor.sentences(advisor.read(tmp_path)) == advisor.sentences(advice)
    again = advisor.decide(read_json(tmp_path / "transferability.json"))
    assert json.dumps(again["training"]["choice"]) == json.dumps(advice["training"]["choice"])
    assert advisor.sentences(again) == advisor.sentences(advice)


def test_without_figures_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc repro features"):
        advisor.read(tmp_path)
