"""What speaks for and against the figures: uses of the test set, leakage, and how the masks and saliency agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.clinical.report.figures import ABSENT, at, known, percent


def times(count: int) -> str:
    """How often, in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def test_set(figures: Mapping[str, Any]) -> dict[str, Any]:
    """How often the test set was opened, in words, and whether that weakens the figures."""
    of = figures.get("test_set")
    if not of or of.get("opened") is None:
        reason = f"How often the test set was opened is {ABSENT}, because no ledger was read."
        return {"cls": "plain", "sentence": reason, "notes": [], "hashes": []}
    opened, models, splits, own = (int(of.get(key) or 1) for key in ("opened", "models", "splits", "model_splits"))
    moved = bool(of.get("threshold_moved"))
    sentence = f"The test set was opened {times(opened)}."
    notes = []
    if models > 1:
        notes.append(f"{models} different models have met it: the best of several looks better than it is.")
    if own > 1:
        notes.append(f"This very model was tested on {own} splits: it may have learnt from patients of this test set.")
    if splits > 1:
        notes.append(
            f"{splits} different splits stand in the ledger: other models may have been tested on patients of this "
            "test set, or have learnt from them, before."
        )
    if moved:
        notes.append("The threshold was changed after the model had met a test set: it no longer only confirms.")
    first = opened == splits == 1 and not moved
    if first:
        notes.append("The figures are those of its first use, with the calibration and threshold fixed before.")
    names = (("Model", "model_sha256"), ("Calibration", "calibration_sha256"), ("Split", "split_sha256"))
    hashes = [(name, str(of[key])) for name, key in names if of.get(key)]
    cls = "negative" if models > 1 or own > 1 or moved else "positive" if first else "plain"
    return {"cls": cls, "sentence": sentence, "notes": notes, "hashes": hashes}


def fixed(figures: Mapping[str, Any]) -> str:
    """When the threshold was fixed, no more than the ledger bears out."""
    of = figures.get("test_set") or {}
    if of.get("threshold_moved"):
        return "changed after the model had met a test set"
    first = of.get("opened") == 1 and int(of.get("splits") or 1) == 1
    return "fixed before these patients were seen" if first else "fixed on validation patients"


def confirms(figures: Mapping[str, Any]) -> str:
    """What the test patients then do, in a sentence."""
    if (figures.get("test_set") or {}).get("threshold_moved"):
        return "It was changed after the model had met a test set, so these figures do not confirm it."
    return "The test patients only confirm it."


def strangers(figures: Mapping[str, Any]) -> str:
    """Whether the model had met the test patients, as far as ledger and pictures of other sides tell."""
    of = figures.get("leakage")
    if int(at(figures, "test_set.model_splits") or 1) > 1:
        return "some of whom the model may have learnt from under another split"
    if not of:
        return "none of whom stands on another side by name"
    if of.get("exact") or of.get("near"):
        return "some of whom may stand on two sides under two names"
    return "whom the model had never met"


def leakage(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Whether patients or pictures stand on two sides of the split."""
    of = figures.get("leakage")
    if not of:
        reason = f"Pictures that stand on two sides of the split are {ABSENT}; that no patient does is checked always."
        return {"cls": "plain", "sentence": reason, "findings": []}
    counts = {"equal": of.get("exact", 0), "nearly equal": of.get("near", 0)}
    found = [f"{count} pairs of {word} slices" for word, count in counts.items() if count]
    among = f"{of.get('slices', 0):,} slices of {of.get('patients', 0):,} patients"
    sentence = f"Among {among}, {' and '.join(found) or 'no equal and no nearly equal slices'} stand on two sides."
    return {"cls": "negative" if found else "positive", "sentence": sentence, "findings": _said(of.get("findings"))}


def _said(findings: Any, most: int = 12) -> list[str]:
    """Findings in words, the first of many."""
    found = []
    for each in findings or []:
        if isinstance(each, Mapping):
            pairs = zip(each.get("patients", ()), each.get("sides", ()), strict=False)
            who = " and ".join(f"{patient} ({side})" for patient, side in pairs)
            found.append(f"{who}: {each.get('slices', 'some')} pairs of slices, likeness {each.get('likeness', 'n/a')}")
        else:
            found.append(str(each))
    return found if len(found) <= most else [*found[:most], f"and {len(found) - most} more pairs of patients"]


def explanation(figures: Mapping[str, Any]) -> dict[str, str]:
    """By what the saliency was made, and whether its peak lies in the lesions more often than chance."""
    of = figures.get("explanation") or {}
    game, chance = of.get("pointing_game"), of.get("chance")
    method = str(of.get("method") or "Saliency")
    if game is None or math.isnan(known(game.get("value"))):
        reason = (game or {}).get("reason") or of.get("reason") or "no masks of lesions were given"
        return {"method": method, "cls": "plain", "sentence": f"Whether it points at lesions is {ABSENT}: {reason}."}
    better = known(at(of, "gain.low")) > 0
    said = (
        f"In the pointing game its peak lies inside the lesion's mask in {percent(game)} of {of.get('slices', 'the')} "
        f"slices with a lesion; a random point inside the head would in {percent(chance)}."
    )
    verdict = " That is better than chance." if better else " That is not clearly better than chance."
    if better and known(game.get("value")) < 0.5:
        verdict = " That is better than chance, and still in most slices it points elsewhere."
    return {"method": method, "cls": "plain", "sentence": said + verdict}
